"""The content store: blobs named by their digests, as files below one directory.

Vocabulary follows containerd's content store: an *ingest* is a blob being written, publishing
it is one rename. It knows nothing of manifests: what is reachable is told by its caller. Every
method is thread-safe; one engine owns a store.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import BinaryIO, Final, NamedTuple

from kedge.content.ingest import BlobWriter
from kedge.content.leases import Lease, Leases
from kedge.errdefs import ConflictError, DataLossError, NotFoundError
from kedge.lib.atomicfile import sync_directory
from kedge.oci.digests import HEX_LENGTHS, encoded_part, is_digest, parse_digest
from kedge.oci.hashing import has_digest, sha256_digest

_INGEST_KEEP_NS: Final = 24 * 3600 * 1_000_000_000
_UNNAMED: Final = "unnamed-"
"""Begins the file name of a blob whose digest only its end will tell."""


class BlobInfo(NamedTuple):
    """A blob that is there."""

    digest: str
    size_bytes: int
    modified_ns: int


class Collected(NamedTuple):
    """What a garbage collection removed."""

    digests: tuple[str, ...]
    freed_bytes: int


class ContentStore:
    """Blobs below ``root``; a crash at any line leaves whole blobs and garbage, nothing else."""

    def __init__(self, root: str, *, leases: Leases | None = None) -> None:
        """Open or create the store.

        Args:
            root: Its directory; the parent must exist.
            leases: Shared with whoever else keeps things for the same writers.
        """
        self._root = root
        self._ingests = os.path.join(root, "ingest")
        self._leases = leases or Leases()
        self._lock = threading.Lock()
        self._writing: set[str] = set()
        self._unflushed: set[str] = set()
        self._flushing = threading.Lock()
        for directory in (root, self._ingests, os.path.join(root, "blobs")):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        for algorithm in HEX_LENGTHS:
            os.makedirs(os.path.join(root, "blobs", algorithm), mode=0o700, exist_ok=True)
        for name in os.listdir(self._ingests):
            if name.startswith(_UNNAMED):
                os.unlink(os.path.join(self._ingests, name))

    @property
    def leases(self) -> Leases:
        """The leases that protect blobs from `collect`."""
        return self._leases

    def lease(self) -> Lease:
        """Return a new, empty lease."""
        return self._leases.lease()

    def ingest(self, ref: str, *, size: int | None = None, digest: str = "") -> BlobWriter:
        """Begin a blob, or go on with what an earlier attempt under ``ref`` left.

        Args:
            ref: Names the attempt; the digest, where it is known. Only then can a later process
                go on with it; other attempts are removed when the store is opened.
            size: Announced length; any other is refused.
            digest: Announced digest; also says which algorithm hashes.

        Raises:
            ConflictError: Somebody is writing this ``ref`` right now.
            InvalidParameterError: ``digest`` is not a digest.
        """
        if digest:
            parse_digest(digest)
        name = _ingest_name(ref)
        with self._lock:
            if name in self._writing:
                raise ConflictError(f"{ref} is being written already")
            self._writing.add(name)
        try:
            return BlobWriter(
                os.path.join(self._ingests, name),
                ref=ref,
                size=size,
                digest=digest,
                publish=self._publish,
                flush=self.flush_names,
                release=lambda: self._writing.discard(name),
            )
        except BaseException:
            self._writing.discard(name)
            raise

    def discard_ingest(self, ref: str) -> None:
        """Throw away what earlier attempts under ``ref`` left, unless somebody is writing it."""
        name = _ingest_name(ref)
        with self._lock:
            if name not in self._writing:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._ingests, name))

    def put(self, data: bytes, *, digest: str = "", durable_name: bool = True) -> str:
        """Store a small blob that is in memory; return its digest.

        Args:
            data: The blob.
            digest: What it is known to be, where that is not sha256; checked.
            durable_name: As `BlobWriter.commit` takes it.
        """
        digest = digest or sha256_digest(data)
        if not self.exists(digest):
            # Under a name of its own: two threads may store equal bytes at the same time.
            ref = f"{digest} {threading.get_ident()}"
            with self.ingest(ref, size=len(data), digest=digest) as writer:
                writer.rewind()
                writer.write(data)
                writer.commit(durable_name=durable_name)
        return digest

    def exists(self, digest: str) -> bool:
        """Tell whether the blob is there, whole."""
        return is_digest(digest) and os.path.exists(self._path(digest))

    def info(self, digest: str) -> BlobInfo:
        """Return the blob's size and time.

        Raises:
            NotFoundError: There is no such blob.
        """
        try:
            status = os.stat(self._path(parse_digest(digest)))
        except FileNotFoundError as error:
            raise _missing(digest) from error
        return BlobInfo(digest, status.st_size, status.st_mtime_ns)

    def open(self, digest: str) -> BinaryIO:
        """Open the blob for reading; the caller closes it.

        Raises:
            NotFoundError: There is no such blob.
        """
        try:
            return open(self._path(parse_digest(digest)), "rb")
        except FileNotFoundError as error:
            raise _missing(digest) from error

    def read(self, digest: str) -> bytes:
        """Return a small blob's bytes, verified.

        Raises:
            NotFoundError: There is no such blob.
            DataLossError: The file no longer holds what was stored.
        """
        with self.open(digest) as stream:
            data = stream.read()
        if not has_digest(data, digest):
            raise DataLossError(
                f"blob {digest} is damaged on disk: remove its image and get it again"
            )
        return data

    def remove(self, digest: str) -> int:
        """Remove the blob if it is there; return how many bytes that freed."""
        path = self._path(parse_digest(digest))
        try:
            size = os.stat(path).st_size
            os.unlink(path)
        except FileNotFoundError:
            return 0
        return size

    def walk(self) -> Iterator[BlobInfo]:
        """Yield every blob; one that vanishes meanwhile is left out."""
        for algorithm in HEX_LENGTHS:
            directory = os.path.join(self._root, "blobs", algorithm)
            for name in sorted(os.listdir(directory)):
                digest = f"{algorithm}:{name}"
                if is_digest(digest):
                    try:
                        yield self.info(digest)
                    except NotFoundError:
                        continue

    def collect(self, reachable: Callable[[], Collection[str]]) -> Collected:
        """Remove every blob that is neither reachable nor leased, and ingests given up long ago.

        Args:
            reachable: Asked once, after leases began to be watched, so that a record written
                during the collection is never missed.
        """
        removed: list[str] = []
        freed = 0
        with self._leases.collecting():
            keep = frozenset(reachable())
            for blob in list(self.walk()):
                if blob.digest in keep:
                    continue
                with self._leases.unless_held(blob.digest) as free:
                    if free:
                        freed += self.remove(blob.digest)
                        removed.append(blob.digest)
        return Collected(tuple(removed), freed)

    def remove_stale_ingests(self, now_ns: int, *, keep_ns: int = _INGEST_KEEP_NS) -> int:
        """Remove partial blobs that nobody writes and that were not touched for ``keep_ns``.

        Returns:
            How many bytes that freed.
        """
        freed = 0
        for name in os.listdir(self._ingests):
            path = os.path.join(self._ingests, name)
            with self._lock:
                if name in self._writing:
                    continue
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    # It was published between the listing and the lock.
                    continue
                if now_ns - status.st_mtime_ns >= keep_ns:
                    os.unlink(path)
                    freed += status.st_size
        return freed

    def flush_names(self) -> None:
        """Let every blob that is there survive a power cut."""
        # Whoever comes while another flushes waits: it may be the name that the other took.
        with self._flushing:
            for directory in list(self._unflushed):
                self._unflushed.discard(directory)
                try:
                    sync_directory(directory)
                except OSError:
                    self._unflushed.add(directory)
                    raise

    def _publish(self, path: str, digest: str) -> None:
        target = self._path(digest)
        os.rename(path, target)
        self._unflushed.add(os.path.dirname(target))

    def _path(self, digest: str) -> str:
        return os.path.join(self._root, "blobs", digest.partition(":")[0], encoded_part(digest))


def _ingest_name(ref: str) -> str:
    name = hashlib.sha256(ref.encode(), usedforsecurity=False).hexdigest()
    return name if is_digest(ref) else f"{_UNNAMED}{name}"


def _missing(digest: str) -> NotFoundError:
    return NotFoundError(f"no such blob: {digest}")
