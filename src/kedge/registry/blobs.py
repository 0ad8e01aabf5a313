"""The bytes of blobs: on this disk, and in a bucket where there is one.

Without a bucket the disk has everything. With one, the bucket has everything and the disk what
was pushed last; a cache of another registry keeps what it likes. In both of these the disk can be
held below a size: what nobody asked for the longest goes first.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple, TypeAlias

from kedge.content.ingest import BlobWriter
from kedge.content.leases import Lease
from kedge.content.store import BlobInfo, ContentStore
from kedge.errdefs import NotFoundError
from kedge.registry.bucket import Bucket

_ROOM: Final = 0.9
"""How full the disk may be after making room, so that not every blob makes room anew."""


class LocalBlob(NamedTuple):
    """A blob on this disk; whoever asked closes the file."""

    file: BinaryIO
    size_bytes: int


class RemoteBlob(NamedTuple):
    """A blob in the bucket."""

    size_bytes: int
    address: str
    """Where the client may get it itself; empty where it is to come through the registry."""


OpenedBlob: TypeAlias = LocalBlob | RemoteBlob


class Limit(NamedTuple):
    """How much of the disk may be used, and what to do before a blob goes.

    Attributes:
        seen: Returns when blobs were asked for last, by digest; what it does not name goes first.
        forget: Called before a blob goes from the disk.
    """

    size_bytes: int
    seen: Callable[[], Mapping[str, int]]
    forget: Callable[[str], None]


class BlobBytes:
    """Where a registry's blobs are; thread-safe."""

    def __init__(self, content: ContentStore, bucket: Bucket | None, *, redirects: bool) -> None:
        """Keep blobs in ``content`` and in ``bucket``.

        Args:
            content: On this disk.
            bucket: Where everything is, if not on this disk.
            redirects: Send clients to the bucket rather than its bytes to them.
        """
        self._content = content
        self._bucket = bucket
        self._redirects = redirects
        self._limit: Limit | None = None
        self._making_room = threading.Lock()
        self._counting = threading.Lock()
        self._used_bytes = 0

    def hold_below(self, limit: Limit) -> None:
        """Use no more of the disk than ``limit`` says, from now on."""
        self._limit = limit
        self._used_bytes = sum(blob.size_bytes for blob in self._content.walk())
        self._make_room()

    def lease(self) -> Lease:
        """Return a new, empty lease."""
        return self._content.lease()

    def exists(self, digest: str) -> bool:
        """Tell whether a blob's bytes are somewhere."""
        if self._bucket is not None:
            return self._bucket.has_blob(digest)
        return self._content.exists(digest)

    def keep(self, writer: BlobWriter, digest: str) -> None:
        """Verify and publish what was written, leased by the caller.

        Raises:
            DataLossError: The bytes have another digest.
            DistributionError: The bucket does not take it.
        """
        writer.commit(digest)
        if self._bucket is not None:
            with self._content.open(digest) as file:
                self._bucket.put_blob(digest, file, self._content.info(digest).size_bytes)

    def added(self, size_bytes: int) -> None:
        """Note that the disk holds more than before, and make room where it is too much."""
        with self._counting:
            self._used_bytes += size_bytes
        self._make_room()

    def open(self, digest: str, size_bytes: int) -> OpenedBlob | None:
        """Open a blob for reading; None where its bytes are lost."""
        try:
            return LocalBlob(self._content.open(digest), size_bytes)
        except NotFoundError:
            if self._bucket is None:
                return None
        address = self._bucket.blob_address(digest) if self._redirects else ""
        return RemoteBlob(size_bytes, address)

    def chunks(self, digest: str, offset: int, length: int) -> Iterator[bytes] | None:
        """Return a part of a blob that is in the bucket; None where it is lost."""
        return None if self._bucket is None else self._bucket.blob_chunks(digest, offset, length)

    def collect(self, reachable: Callable[[], Collection[str]]) -> tuple[int, int]:
        """Remove every blob that is neither reachable nor leased; return how many and how large."""
        freed = self._content.collect(reachable)
        with self._counting:
            self._used_bytes -= freed.freed_bytes
        if self._bucket is None:
            return len(freed.digests), freed.freed_bytes
        count, size_bytes = 0, 0
        with self._content.leases.collecting():
            keep = frozenset(reachable())
            for digest, size in self._bucket.blobs():
                if digest in keep:
                    continue
                with self._content.leases.unless_held(digest) as free:
                    if free:
                        self._bucket.delete_blob(digest)
                        count, size_bytes = count + 1, size_bytes + size
        return count, size_bytes

    def _make_room(self) -> None:
        limit = self._limit
        if limit is None or self._used_bytes <= limit.size_bytes:
            return
        # One thread is enough; the others have brought what it will find.
        if self._making_room.acquire(blocking=False):
            try:
                self._evict(limit)
            finally:
                self._making_room.release()

    def _evict(self, limit: Limit) -> None:
        seen = limit.seen()

        def age(blob: BlobInfo) -> tuple[int, int]:
            return seen.get(blob.digest, 0), blob.modified_ns

        blobs = sorted(self._content.walk(), key=age)
        used = sum(blob.size_bytes for blob in blobs)
        for blob in blobs:
            if used <= limit.size_bytes * _ROOM:
                break
            with self._content.leases.unless_held(blob.digest) as free:
                if free:
                    limit.forget(blob.digest)
                    used -= self._content.remove(blob.digest)
        with self._counting:
            self._used_bytes = used
