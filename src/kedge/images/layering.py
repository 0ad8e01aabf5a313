"""New layers: an active snapshot to change, then its blob, its diff_id and its chain id.

Order: blob written and verified, snapshot committed, record written by the caller. A crash in
between leaves an active snapshot of a ``build-`` key, which the next start removes, or a blob and
a committed snapshot that garbage collection removes; never half a layer. A power cut may take
whole layers until `ImageStore.add` and `Snapshotter.sync` have flushed them.
"""

import functools
import hashlib
import io
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, TypeVar, cast

from kedge.archive.compression import Compression, compress
from kedge.archive.entry import Entry
from kedge.archive.layered import LayerStack
from kedge.archive.writer import Written
from kedge.content.ingest import BlobWriter
from kedge.content.leases import Lease
from kedge.content.store import ContentStore
from kedge.errdefs import ConflictError, NotFoundError, SystemFailureError
from kedge.images.unpack import empty_directory
from kedge.lib.clock import Clock
from kedge.lib.ids import new_id
from kedge.oci import media_types
from kedge.oci.hashing import chain_ids, sha256_digest
from kedge.oci.image_spec import Descriptor
from kedge.oci.mounts import Mount
from kedge.snapshots.overlay import unflushed
from kedge.snapshots.snapshotter import Snapshotter, Usage

T = TypeVar("T")

KEY_PREFIX: Final = "build-"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """One layer of the image that is being built."""

    diff_id: str
    chain_id: str
    blob: Descriptor | None
    created_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLayer:
    """A layer that is being made."""

    key: str
    parent: str
    """Chain id below; empty for the first layer."""
    mounts: tuple[Mount, ...]
    upper: str
    """The directory that takes the writes."""
    lower: tuple[str, ...]
    """The directories that show through it, top first; none where it is a full copy."""


class WrittenLayer(NamedTuple):
    """A layer that is committed."""

    record: LayerRecord
    size_bytes: int
    """Bytes of the tar."""


class Layering:
    """Makes layers for one engine; thread-safe."""

    def __init__(
        self,
        snapshots: Snapshotter,
        content: ContentStore,
        clock: Clock,
    ) -> None:
        self._snapshots = snapshots
        self._content = content
        self._clock = clock

    def remove_leftovers(self) -> None:
        """Remove what builds of an earlier run of the engine left; nothing may be building."""
        for info in self._snapshots.walk():
            if info.name.startswith(KEY_PREFIX):
                self._snapshots.remove(info.name)
        self._snapshots.purge()

    @contextmanager
    def open(self, parent: str, *, mounted_twice: bool = False) -> Generator[OpenLayer, None, None]:
        """Enclose the making of a layer on ``parent``; what is not committed is removed.

        Its mounts can be used once, or ``mounted_twice`` at the price of flushing to disk.
        """
        key = KEY_PREFIX + new_id()
        mounts = self._snapshots.prepare(key, parent or None)
        try:
            yield OpenLayer(
                key=key,
                parent=parent,
                # A layer that was not flushed is forgotten after a power cut, whatever it holds.
                mounts=mounts if mounted_twice else unflushed(mounts),
                upper=self._snapshots.diff_path(key),
                lower=self._snapshots.lower_paths(key),
            )
        except BaseException:
            # The disk may be full of it, and removing a record takes some room, too.
            with suppress(OSError, NotFoundError):
                empty_directory(self._snapshots.diff_path(key))
            raise
        finally:
            # Not there any more when it was committed under its chain id. A removal that fails must
            # not hide why the layer did; `remove_leftovers` finds it.
            with suppress(NotFoundError, SystemFailureError):
                self._snapshots.remove(key)
                self._snapshots.purge()

    def commit(self, layer: OpenLayer, lease: Lease, created_ns: int | None) -> WrittenLayer:
        """Turn ``layer`` into a committed snapshot and a blob; equal layers are kept once.

        Args:
            layer: Finished; nothing writes to it any more.
            lease: Takes the chain id and the digest of the blob.
            created_ns: The time to record, and no file of the blob is later; None for now.
        """
        written, blob = self._write_blob(layer, lease, created_ns)
        diff_id = written.diff_id
        if layer.parent:
            chain_id = sha256_digest(f"{layer.parent} {diff_id}".encode())
        else:
            chain_id = chain_ids([diff_id])[0]
        lease.add(chain_id)
        if not self.is_committed(chain_id):
            try:
                usage = Usage(written.size_bytes, written.entries)
                self._snapshots.commit(chain_id, layer.key, usage=usage)
            except ConflictError:
                if not self.is_committed(chain_id):
                    raise
        record = LayerRecord(
            diff_id=diff_id,
            chain_id=chain_id,
            blob=blob,
            created_ns=self._clock.time_ns() if created_ns is None else created_ns,
        )
        return WrittenLayer(record, written.stream_bytes)

    def is_committed(self, chain_id: str) -> bool:
        """Say whether the snapshot of ``chain_id`` is there."""
        try:
            return self._snapshots.stat(chain_id).kind == "committed"
        except NotFoundError:
            return False

    def is_whole(self, layer: LayerRecord) -> bool:
        """Say whether snapshot and blob of a remembered layer are still there."""
        has_blob = layer.blob is None or self._content.exists(layer.blob.digest)
        return has_blob and self.is_committed(layer.chain_id)

    def open_tree(self, chain_id: str) -> LayerStack | None:
        """Return a reader of the file system ``chain_id``; None for the empty one."""
        return self._snapshots.open_tree(chain_id) if chain_id else None

    def _write_blob(
        self, layer: OpenLayer, lease: Lease, latest_ns: int | None
    ) -> tuple[Written, Descriptor]:
        def clamp(entry: Entry, latest_ns: int) -> Entry:
            return entry if entry.mtime_ns <= latest_ns else entry._replace(mtime_ns=latest_ns)

        change = None if latest_ns is None else functools.partial(clamp, latest_ns=latest_ns)
        return write_layer_blob(
            self._content,
            lease,
            f"layer of {layer.key}",
            lambda out: self._snapshots.write_diff(layer.key, out, change=change),
        )


def write_layer_blob(
    content: ContentStore, lease: Lease, ref: str, write: Callable[[BinaryIO], T]
) -> tuple[T, Descriptor]:
    """Store what ``write`` writes as a gzip layer; return what it returned and the blob.

    Its content is flushed to disk, its name is not: recording an image does that.

    Args:
        content: Where the blob goes.
        lease: Takes its digest before anybody can see it.
        ref: Names the attempt.
        write: Writes the uncompressed layer.
    """
    with content.ingest(ref) as writer:
        try:
            sink = BlobSink(writer)
            zipped = compress(cast("BinaryIO", sink), Compression.GZIP)
            written = write(zipped)
            zipped.close()
            lease.add(sink.digest)
            # Whoever records an image of it flushes the names of all its layers at once.
            digest = writer.commit(sink.digest, durable_name=False)
        except BaseException:
            writer.discard()
            raise
    return written, Descriptor(media_types.OCI_LAYER_GZIP, digest, sink.size_bytes)


class BlobSink(io.RawIOBase):
    """Passes a blob on and knows its digest, so that it is leased before it is published."""

    def __init__(self, below: BlobWriter) -> None:
        """Write to ``below``."""
        super().__init__()
        self._below = below
        self._hash = hashlib.sha256(usedforsecurity=False)
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: "memoryview | bytes", /) -> int:  # type: ignore[override]
        """Write all of ``data``."""
        self._below.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)


def remove_mountpoints(layer: OpenLayer, paths: Sequence[str]) -> None:
    """Remove what is in a layer only because something was mounted on it.

    A file goes while it is empty, a directory while it is empty; a parent that is in the layer
    for no other reason goes too, so that a RUN that changes nothing makes an empty layer.

    Args:
        layer: What the RUN wrote to.
        paths: Absolute, as the container saw them.
    """
    for path in sorted(paths, key=len, reverse=True):
        full = _inside(layer.upper, path)
        if full is None or not _remove_stub(full):
            continue
        parent = os.path.dirname(full)
        while parent != layer.upper and _is_unchanged(parent, layer):
            os.rmdir(parent)
            parent = os.path.dirname(parent)


def _inside(upper: str, path: str) -> str | None:
    """Return the host path of ``path`` if each directory on the way is a real one."""
    full = upper
    parts = [part for part in path.split("/") if part]
    if not parts or ".." in parts:
        return None
    for part in parts[:-1]:
        full = f"{full}/{part}"
        if os.path.islink(full) or not os.path.isdir(full):
            return None
    return f"{full}/{parts[-1]}"


def _remove_stub(full: str) -> bool:
    try:
        if os.path.isdir(full) and not os.path.islink(full):
            os.rmdir(full)
        elif os.path.isfile(full) and not os.path.islink(full) and os.path.getsize(full) == 0:
            os.unlink(full)
        else:
            return False
    except OSError:
        return False
    return True


def _is_unchanged(directory: str, layer: OpenLayer) -> bool:
    """Say whether an empty directory of the layer is what the layers below have anyway."""
    if os.listdir(directory):
        return False
    relative = os.path.relpath(directory, layer.upper)
    for lower in layer.lower:
        below = f"{lower}/{relative}"
        if os.path.islink(below) or not os.path.isdir(below):
            continue
        mine, theirs = os.lstat(directory), os.lstat(below)
        if (mine.st_mode, mine.st_uid, mine.st_gid) != (
            theirs.st_mode,
            theirs.st_uid,
            theirs.st_gid,
        ):
            return False
        return "trusted.overlay.opaque" not in os.listxattr(directory, follow_symlinks=False)
    return False


def clamp_times(layer: OpenLayer, epoch_ns: int) -> None:
    """Set every time stamp in a layer that is later than ``epoch_ns`` back to it."""
    if layer.parent and not layer.lower:
        return  # a full copy: most of what is there belongs to the layers below
    for folder, folders, files in os.walk(layer.upper, topdown=False):
        for name in (*files, *folders):
            full = f"{folder}/{name}"
            if os.lstat(full).st_mtime_ns > epoch_ns:
                os.utime(full, ns=(epoch_ns, epoch_ns), follow_symlinks=False)
