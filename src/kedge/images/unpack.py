"""Layers into snapshots: each one once, verified, whoever asks and however many at a time.

A layer is extracted into an active snapshot of a key of its own and becomes the committed
snapshot named by its chain id only when its diff_id is right. A crash before that leaves an
active snapshot, which `Unpacker.remove_leftovers` finds by its key.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final, NamedTuple, Protocol

from kedge.archive.apply import Applied
from kedge.archive.compression import decompress
from kedge.archive.removal import remove_tree
from kedge.content.leases import Leases
from kedge.errdefs import (
    ConflictError,
    DataLossError,
    InvalidParameterError,
    NotFoundError,
    SystemFailureError,
)
from kedge.images.records import ImageRecords
from kedge.lib.ids import new_id, short_id
from kedge.oci.digests import is_digest
from kedge.oci.mounts import Mount
from kedge.snapshots.snapshotter import SnapshotInfo, SnapshotKind, Usage

_KEY_PREFIX: Final = "extract-"
_POLL_S: Final = 0.25


class LayerSnapshots(Protocol):
    """The part of `kedge.snapshots.snapshotter.Snapshotter` that images need."""

    def prepare(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make an active snapshot on ``parent``."""
        ...

    def apply(self, key: str, stream: BinaryIO, *, name: str = "layer") -> Applied:
        """Extract an uncompressed layer into an active snapshot."""
        ...

    def commit(self, name: str, key: str, *, usage: Usage | None = None) -> None:
        """Turn the active snapshot ``key`` into the layer ``name``."""
        ...

    def sync(self) -> None:
        """Let committed layers survive a power cut."""
        ...

    def remove(self, key: str) -> None:
        """Forget a snapshot; ConflictError while another one stands on it."""
        ...

    def purge(self) -> int:
        """Free the space of what was removed."""
        ...

    def stat(self, key: str) -> SnapshotInfo:
        """Return a snapshot's record; NotFoundError if there is none."""
        ...

    def diff_path(self, key: str) -> str:
        """Return the directory of a snapshot's own files."""
        ...

    def walk(self) -> list[SnapshotInfo]:
        """Return every snapshot."""
        ...


class PlannedLayer(NamedTuple):
    """A layer that is to be unpacked."""

    diff_id: str
    chain_id: str
    parent: str
    """Chain id of what is below; empty for a base layer."""


class Unpacker:
    """Makes sure that layers are there as committed snapshots."""

    def __init__(
        self,
        snapshots: LayerSnapshots,
        records: ImageRecords,
        leases: Leases,
    ) -> None:
        self._snapshots = snapshots
        self._records = records
        self._leases = leases
        self._lock = threading.Lock()
        self._chain_locks: defaultdict[str, list[threading.Lock]] = defaultdict(list)
        self._active: set[str] = set()

    def has(self, chain_id: str) -> bool:
        """Tell whether the layer is unpacked."""
        try:
            return self._snapshots.stat(chain_id).kind is SnapshotKind.COMMITTED
        except NotFoundError:
            return False

    def unpack(
        self,
        layer: PlannedLayer,
        open_blob: Callable[[], BinaryIO],
        *,
        verify: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Ensure the layer's snapshot; tell whether it had to be extracted.

        The caller holds a lease on the chain id.

        Args:
            layer: What to unpack; its parent must be unpacked.
            open_blob: Opens the compressed layer; called only if it is needed.
            verify: Called after extraction, before anything is published: waits until the blob
                itself is verified, or raises.
            check: Called now and then while another thread unpacks the same layer; what it
                raises ends the waiting.

        Raises:
            DataLossError: The layer is not what its diff_id says.
        """
        with self._only_one(layer.chain_id, check):
            if self.has(layer.chain_id):
                return False
            with open_blob() as stream:
                self._extract(layer, stream, verify)
            return True

    def size_bytes(self, chain_id: str) -> int:
        """Return the bytes of a layer's files; 0 while it is not unpacked."""
        size = self._records.layer_size(chain_id)
        if size is None:
            try:
                size = self._snapshots.stat(chain_id).size_bytes
            except NotFoundError:
                return 0
            if size is None:
                return 0
            self._records.put_layer_size(chain_id, size)
        return size

    def remove_unused(self, chain_id: str) -> bool:
        """Remove the layer's snapshot if no image, lease or other snapshot needs it.

        Returns:
            Whether it is gone.
        """
        with self._leases.unless_held(chain_id) as free:
            if not free or self._records.has_chain(chain_id):
                return False
            try:
                self._snapshots.remove(chain_id)
            except NotFoundError:
                pass
            except ConflictError:
                return False
            self._records.forget_layer_size(chain_id)
            return True

    def remove_leftovers(self) -> int:
        """Remove extractions that a crash cut off and layers no image stands on.

        Returns:
            How many snapshots went.
        """
        removed = 0
        infos = self._snapshots.walk()
        for info in infos:
            with self._lock:
                stale = info.name.startswith(_KEY_PREFIX) and info.name not in self._active
            if stale:
                self._snapshots.remove(info.name)
                removed += 1
        for name in _deepest_first(infos):
            if is_digest(name) and self.remove_unused(name):
                removed += 1
        self._snapshots.purge()
        return removed

    def purge(self) -> None:
        """Free the space of snapshots that were removed."""
        self._snapshots.purge()

    def sync(self) -> None:
        """Let the layers unpacked so far survive a power cut."""
        self._snapshots.sync()

    def _extract(self, layer: PlannedLayer, stream: BinaryIO, verify: Callable[[], None]) -> None:
        key = _KEY_PREFIX + new_id()
        with self._lock:
            self._active.add(key)
        try:
            self._snapshots.prepare(key, layer.parent or None)
            try:
                applied = self._apply(key, stream, layer)
                verify()
                _check_diff_id(layer, applied)
                self._commit(layer.chain_id, key, applied)
            except BaseException:
                self._discard(key)
                raise
        finally:
            with self._lock:
                self._active.discard(key)
        self._records.put_layer_size(layer.chain_id, applied.size_bytes)

    def _apply(self, key: str, stream: BinaryIO, layer: PlannedLayer) -> Applied:
        name = f"layer {short_id(layer.diff_id)}"
        try:
            with decompress(stream, name=name) as tar:
                return self._snapshots.apply(key, tar, name=name)
        except (DataLossError, InvalidParameterError) as error:
            # A layer that is no layer is damage, not somebody's wrong argument.
            raise DataLossError(f"failed to register {error}") from error
        except SystemFailureError as error:
            raise SystemFailureError(f"failed to register {error}") from error

    def _commit(self, chain_id: str, key: str, applied: Applied) -> None:
        usage = Usage(size_bytes=applied.size_bytes, inodes=applied.entries)
        try:
            self._snapshots.commit(chain_id, key, usage=usage)
        except ConflictError:
            # A build may have made the very same layer meanwhile.
            if not self.has(chain_id):
                raise
            self._discard(key)

    def _discard(self, key: str) -> None:
        """Give back the space of a failed extraction, for the disk may be full of it.

        The files go first: removing a record takes some space, too. What fails here must not hide
        why the extraction failed; `remove_leftovers` finds what stays.
        """
        with suppress(NotFoundError, SystemFailureError):
            with suppress(OSError):
                empty_directory(self._snapshots.diff_path(key))
            self._snapshots.remove(key)
            self._snapshots.purge()

    @contextmanager
    def _only_one(self, chain_id: str, check: Callable[[], None]) -> Generator[None, None, None]:
        """Let one thread at a time unpack a chain; the others find it done."""
        with self._lock:
            users = self._chain_locks[chain_id]
            lock = users[0] if users else threading.Lock()
            users.append(lock)
        try:
            while not lock.acquire(timeout=_POLL_S):
                check()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                users.pop()
                if not users:
                    del self._chain_locks[chain_id]


def empty_directory(path: str) -> None:
    """Remove everything below ``path``, which stays."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(descriptor):
            remove_tree(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _check_diff_id(layer: PlannedLayer, applied: Applied) -> None:
    if applied.diff_id != layer.diff_id:
        raise DataLossError(
            f"layer {layer.diff_id} does not match its diff_id:"
            f" the unpacked bytes are {applied.diff_id}"
        )


def _deepest_first(infos: Sequence[SnapshotInfo]) -> list[str]:
    """Return the committed snapshots' names, every child before its parent."""
    parents = {info.name: info.parent for info in infos if info.kind is SnapshotKind.COMMITTED}
    order: dict[str, None] = {}
    for name in parents:
        branch: list[str] = []
        walker: str | None = name
        while walker in parents and walker not in order:
            branch.append(walker)
            walker = parents[walker]
        order.update(dict.fromkeys(reversed(branch)))
    return list(reversed(order))
