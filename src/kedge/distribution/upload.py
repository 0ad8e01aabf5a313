"""One blob on its way into a repository: there already, mounted, in one piece or in several.

The order of distribution-spec, "Pushing blobs": HEAD; POST, which mounts where the registry can;
then the bytes. Small blobs go with one PUT. Large ones go with a PATCH that is gone on with where
it broke off, in chunks where the registry refuses them whole; PUT ends the upload and names the
digest, so the registry verifies what it got.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

from kedge.distribution.client import RepositoryClient
from kedge.distribution.failures import ConnectionFailedError, RegistryRefusedError
from kedge.distribution.retry import is_transient
from kedge.distribution.transport import Answer
from kedge.errdefs import KedgeError, UnavailableError
from kedge.oci.image_spec import Descriptor

_MONOLITHIC_MAX_BYTES: Final = 1 << 20
_FIRST_CHUNK_BYTES: Final = 64 << 20
_LEAST_CHUNK_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 18
_FOUND: Final = frozenset({200})
_REFUSED: Final = frozenset({401, 403})
_BEGUN: Final = frozenset({201, 202})
_TAKEN: Final = frozenset({201, 202, 204})
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d+)")
_NO_PATCH: Final = frozenset({404, 405, 415, 501})

OpenBlob: TypeAlias = Callable[[], BinaryIO]


class Source(NamedTuple):
    """Where the bytes of a blob come from."""

    open: OpenBlob
    """Returns a file that can be read from any position; closed by the upload."""
    on_sent: Callable[[int], None]
    """Told how many bytes are on their way; raises when the work is cancelled."""


def not_watched(_sent: int) -> None:
    """Let an upload go on, whatever is sent."""


class Uploaded(NamedTuple):
    """How a blob came to be in the repository."""

    existed: bool = False
    mounted_from: str = ""
    """Repository of the same registry that had it."""


def ensure_blob(
    client: RepositoryClient, blob: Descriptor, source: Source, *, mounts: Sequence[str] = ()
) -> Uploaded:
    """Return when the repository has ``blob``.

    Args:
        client: The repository, with leave to push.
        blob: Digest and size.
        source: Its bytes.
        mounts: Repositories of the same registry that may have it, the likeliest first.

    Raises:
        RegistryRefusedError: The registry does not take it.
        ConnectionFailedError: The connection broke too often.
    """
    if client.new_retries().run(lambda: _is_there(client, blob.digest)):
        return Uploaded(existed=True)
    retries = client.new_retries()
    upload = _Upload(client, blob, source)
    while True:
        before = upload.offset
        try:
            return upload.run(mounts)
        except KedgeError as error:
            if upload.offset > before:
                retries.progressed()
            if not upload.adapt(error):
                retries.failed(error)
            upload.recover()


def has_blob(client: RepositoryClient, digest: str) -> bool:
    """Tell whether the repository has a blob.

    Raises:
        RegistryRefusedError: The registry does not say.
    """
    try:
        client.exchange.send("HEAD", f"{client.repository}/blobs/{digest}", expected=_FOUND).close()
    except RegistryRefusedError as error:
        if error.problem.status == 404:
            return False
        raise
    return True


def _is_there(client: RepositoryClient, digest: str) -> bool:
    try:
        return has_blob(client, digest)
    except RegistryRefusedError as error:
        # The answer to a HEAD has no words; the POST that follows is refused with the reason.
        if error.problem.status in _REFUSED:
            return False
        raise


class _Upload:
    """The upload of one blob, over as many attempts as it takes."""

    def __init__(self, client: RepositoryClient, blob: Descriptor, source: Source) -> None:
        self._client = client
        self._blob = blob
        self._source = source
        self._location = ""
        self._chunk_bytes = 0
        """Zero while the registry has not refused the whole."""
        self._is_monolithic = blob.size <= _MONOLITHIC_MAX_BYTES
        self.offset = 0

    def run(self, mounts: Sequence[str]) -> Uploaded:
        """Make one attempt, from where the last one got to."""
        if not self._location:
            mounted_from = self._begin_or_mount(mounts)
            if mounted_from:
                return Uploaded(mounted_from=mounted_from)
        if not self._is_monolithic:
            while self.offset < self._blob.size:
                self._patch()
        self._finish()
        return Uploaded()

    def adapt(self, error: KedgeError) -> bool:
        """Choose another way to send where the registry refuses this one; tell whether."""
        if not isinstance(error, RegistryRefusedError):
            return False
        status = error.problem.status
        if status == 413 and not (self._chunk_bytes and self._chunk_bytes <= _LEAST_CHUNK_BYTES):
            largest = min(self._chunk_bytes or self._blob.size, _FIRST_CHUNK_BYTES * 2)
            self._chunk_bytes = max(largest // 2, _LEAST_CHUNK_BYTES)
            self._is_monolithic = False
            return True
        if status in _NO_PATCH and self._location and not self._is_monolithic and not self.offset:
            self._is_monolithic = True
            self._location = ""
            return True
        return False

    def recover(self) -> None:
        """Learn how much of the blob the registry has; begin anew where it cannot say."""
        location, self._location = self._location, ""
        kept, self.offset = self.offset, 0
        if not location or self._is_monolithic:
            return
        try:
            with self._client.exchange.send("GET", location, expected=_TAKEN) as answer:
                self._follow(answer, location)
                found = _RANGE.fullmatch(answer.header("range").strip())
        except KedgeError as error:
            if is_transient(error) and kept:
                # The registry may be back for the next attempt, which is counted.
                self._location, self.offset = location, kept
            return
        # "0-0" is said of one byte and of none; nothing is lost by sending it again.
        end = int(found[1]) + 1 if found else 0
        if not 1 < end <= self._blob.size:
            self._location = ""
            return
        self.offset = end

    def _begin_or_mount(self, mounts: Sequence[str]) -> str:
        """Begin an upload; return the repository where that was not necessary."""
        for repository in mounts:
            if self._begin(repository):
                return repository
            if self.has_begun:
                return ""
        self._begin("")
        return ""

    @property
    def has_begun(self) -> bool:
        """Whether the registry said where to upload to."""
        return bool(self._location)

    def _begin(self, mount_from: str) -> bool:
        """Begin an upload; tell whether the registry took the blob from another repository."""
        path = f"{self._client.repository}/blobs/uploads/"
        if mount_from:
            path += "?" + urlencode({"mount": self._blob.digest, "from": mount_from})
        try:
            answer = self._client.exchange.send(
                "POST", path, {"content-length": "0"}, expected=_BEGUN
            )
        except RegistryRefusedError as error:
            if mount_from and not is_transient(error):
                # No leave to read the other repository, or a registry that does not mount.
                return False
            raise
        with answer:
            if answer.status == 201:
                return True
            self._follow(answer, "")
        self.offset = 0
        return False

    def _patch(self) -> None:
        end = self._blob.size
        if self._chunk_bytes:
            end = min(end, self.offset + self._chunk_bytes)
        start = self.offset
        headers = {
            "content-type": "application/octet-stream",
            "content-length": str(end - start),
        }
        if self._chunk_bytes or start:
            headers["content-range"] = f"{start}-{end - 1}"
        location = self._location
        with self._client.exchange.send(
            "PATCH", location, headers, body=self._pieces(start, end), expected=_TAKEN
        ) as answer:
            self._follow(answer, location)
        self.offset = end

    def _finish(self) -> None:
        separator = "&" if "?" in self._location else "?"
        url = f"{self._location}{separator}digest={quote(self._blob.digest, safe='')}"
        size = self._blob.size if self._is_monolithic else 0
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        body = self._pieces(0, size) if size else None
        self._client.exchange.send("PUT", url, headers, body=body, expected=_TAKEN).close()

    def _follow(self, answer: Answer, fallback: str) -> None:
        self._location = answer.header("location") or fallback
        if not self._location:
            raise UnavailableError(
                f"registry {self._client.endpoint.address} does not say where to upload to"
            )

    def _pieces(self, start: int, end: int) -> Callable[[], Iterable[bytes]]:
        def pieces() -> Iterator[bytes]:
            position = start
            with self._source.open() as stream:
                stream.seek(start)
                while position < end:
                    piece = stream.read(min(_PIECE_BYTES, end - position))
                    if not piece:
                        raise ConnectionFailedError(
                            f"blob {self._blob.digest} ends before its {self._blob.size} bytes",
                            may_retry=False,
                        )
                    position += len(piece)
                    self._source.on_sent(position)
                    yield piece

        return pieces
