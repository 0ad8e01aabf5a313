"""Verified files of a mirror, kept by their digest so that the next bootstrap need not fetch them.

A file is written under a temporary name and gets its own when its digest is right, so what is in
the cache is whole. Size and digest come from a signed index; a byte more than announced ends a
download at once.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from kedge.errdefs import DataLossError, NotFoundError, SystemFailureError, UnavailableError
from kedge.images.bootstrap.ports import Fetcher

_T = TypeVar("_T")

_PARALLEL: Final = 8
_ATTEMPTS: Final = 4
_FIRST_PAUSE_S: Final = 0.5
_UNSIGNED_LIMIT_BYTES: Final = 16 << 20
_KEEP_BYTES: Final = 1 << 30


class Wanted(NamedTuple):
    """A file to fetch."""

    urls: tuple[str, ...]
    """Where it may be, best first."""
    size_bytes: int
    sha256: str
    name: str
    """What messages call it."""


class BootstrapCancelledError(UnavailableError):
    """Nobody waits for the image any more."""


class Downloads:
    """Fetches files of one bootstrap."""

    def __init__(
        self, cache: str, fetcher: Fetcher, cancel: threading.Event, *, scratch: str
    ) -> None:
        """Fetch nothing yet.

        Args:
            cache: Directory that keeps files; made if missing.
            fetcher: Where they come from.
            cancel: Ends what is going on.
            scratch: Directory for unfinished files, on the file system of ``cache``.
        """
        self._cache = cache
        self._scratch = scratch
        self._fetcher = fetcher
        self._cancel = cancel
        os.makedirs(cache, mode=0o700, exist_ok=True)

    def read_unsigned(self, url: str) -> bytes:
        """Return a document nobody has vouched for yet.

        Raises:
            NotFoundError: There is none.
            UnavailableError: The mirror cannot be reached.
        """
        return self._persist(lambda: self._read(url))

    def fetch(self, wanted: Wanted, on_bytes: Callable[[int], None] = lambda _: None) -> str:
        """Return the path of a file, from the cache or the mirror.

        Args:
            wanted: The file.
            on_bytes: Called with the number of bytes that are there more than before.

        Raises:
            NotFoundError: The mirror does not have it.
            UnavailableError: The mirror cannot be reached.
            DataLossError: What the mirror has is something else.
        """
        path = os.path.join(self._cache, wanted.sha256)
        if _is_file(path, wanted):
            on_bytes(wanted.size_bytes)
            return path
        for last, url in enumerate(wanted.urls, 1 - len(wanted.urls)):
            try:
                self._persist(lambda url=url: self._download(url, wanted, path, on_bytes))  # type: ignore[misc]
            except (NotFoundError, DataLossError):
                if last == 0:
                    raise
            else:
                break
        return path

    def fetch_all(self, files: Sequence[Wanted], on_bytes: Callable[[int], None]) -> list[str]:
        """Return the paths of ``files``, fetched eight at a time; errors as `fetch`.

        ``on_bytes`` may be called from several threads.
        """
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="kedge-fetch") as pool:
            # The large ones first, so that none of them comes last and alone.
            order = sorted(files, key=lambda file: -file.size_bytes)
            jobs = {file: pool.submit(self.fetch, file, on_bytes) for file in order}
            done, _ = wait(jobs.values(), return_when="FIRST_EXCEPTION")
            if any(job.exception() for job in done):
                pool.shutdown(wait=True, cancel_futures=True)
                for job in done:
                    job.result()
            return [jobs[file].result() for file in files]

    def trim(self, keep_bytes: int = _KEEP_BYTES) -> None:
        """Forget the files unused for longest until the rest is at most ``keep_bytes``."""
        files: list[tuple[float, int, str]] = []
        with os.scandir(self._cache) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                files.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= keep_bytes:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= size

    def _persist(self, attempt: Callable[[], _T]) -> _T:
        pause = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS - 1):
            self._check()
            try:
                return attempt()
            except UnavailableError:
                self._cancel.wait(pause)
                pause *= 2
        self._check()
        return attempt()

    def _read(self, url: str) -> bytes:
        parts: list[bytes] = []
        total = 0
        with self._fetcher.open(url) as pieces:
            for piece in pieces:
                self._check()
                parts.append(piece)
                total += len(piece)
                if total > _UNSIGNED_LIMIT_BYTES:
                    raise DataLossError(f"{url} is too large to be what it should be")
        return b"".join(parts)

    def _download(
        self, url: str, wanted: Wanted, path: str, on_bytes: Callable[[int], None]
    ) -> None:
        digest = hashlib.sha256(usedforsecurity=False)
        total = 0
        try:
            descriptor, temporary = tempfile.mkstemp(prefix="download-", dir=self._scratch)
            try:
                with os.fdopen(descriptor, "wb") as file, self._fetcher.open(url) as pieces:
                    for piece in pieces:
                        self._check()
                        file.write(piece)
                        digest.update(piece)
                        total += len(piece)
                        on_bytes(len(piece))
                        if total > wanted.size_bytes:
                            break
                _check_digest(wanted, url, total, digest.hexdigest())
                os.rename(temporary, path)
            except BaseException:
                on_bytes(-total)
                os.unlink(temporary)
                raise
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise SystemFailureError(
                f"cannot write {wanted.name} to {self._cache}: {cause}"
            ) from error

    def _check(self) -> None:
        if self._cancel.is_set():
            raise BootstrapCancelledError("bootstrap cancelled")


def _is_file(path: str, wanted: Wanted) -> bool:
    """Tell whether ``path`` is still what it was when it was kept; a power cut may spoil it."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.utime(path)
    except FileNotFoundError:
        return False
    return digest == wanted.sha256


def _check_digest(wanted: Wanted, url: str, size_bytes: int, sha256: str) -> None:
    if size_bytes != wanted.size_bytes or sha256 != wanted.sha256:
        raise DataLossError(
            f"hash mismatch of {wanted.name}: {url} has {size_bytes} bytes of sha256 {sha256},"
            f" the signed index says {wanted.size_bytes} of {wanted.sha256}"
        )
