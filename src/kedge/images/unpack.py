"""Layers into snapshots: each one once, verified, whoever asks and however many at a time.

A layer is extracted into an active snapshot of a key of its own and becomes the committed
snapshot named by its chain id only when its diff_id is right. A crash before that leaves an
active snapshot, which `Unpacker.remove_leftovers` finds by its key.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple, Protocol

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

_KEY_PREFIX: Final = "extract-"
_POLL_S: Final = 0.25


class SnapshotFacts(Protocol):
    """What the store looks at in a snapshot."""

    @property
    def name(self) -> str:
        """Its key, or its chain id once committed."""
        ...

    @property
    def kind(self) -> str:
        """``active``, ``view`` or ``committed``."""
        ...

    @property
    def parent(self) -> str | None:
        """The committed snapshot it stands on."""
        ...


class DiskUsage(Protocol):
    """What a snapshot takes on disk."""

    @property
    def size_bytes(self) -> int:
        """Bytes of its own files."""
        ...


class LayerSnapshots(Protocol):
    """The part of a snapshotter that images need (`kedge.snapshots` implements it)."""

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make an active snapshot on ``parent``."""
        ...

    def commit(self, name: str, key: str) -> None:
        """Turn the active snapshot ``key`` into the committed one ``name``."""
        ...

    def remove(self, key: str) -> None:
        """Remove a snapshot; ConflictError while another one stands on it."""
        ...

    def stat(self, key: str) -> SnapshotFacts:
        """Return a snapshot's facts; NotFoundError if there is none."""
        ...

    def usage(self, key: str) -> DiskUsage:
        """Count what a snapshot takes."""
        ...

    def walk(self) -> Iterable[SnapshotFacts]:
        """Return every snapshot."""
        ...

    def diff_path(self, key: str) -> str:
        """Return the directory of the snapshot's own files."""
        ...

    def lower_paths(self, key: str) -> tuple[str, ...]:
        """Return the directories below it, top first."""
        ...


class AppliedLayer(Protocol):
    """What applying a layer found out."""

    @property
    def diff_id(self) -> str:
        """Digest of the tar."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of the files."""
        ...


Apply = Callable[[BinaryIO, str, Sequence[str], str], AppliedLayer]
"""Extract a compressed layer from a stream into a directory over its lower directories; the last
argument is what messages call it."""


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
        apply: Apply,
    ) -> None:
        self._snapshots = snapshots
        self._records = records
        self._leases = leases
        self._apply = apply
        self._lock = threading.Lock()
        self._chain_locks: defaultdict[str, list[threading.Lock]] = defaultdict(list)
        self._active: set[str] = set()

    def has(self, chain_id: str) -> bool:
        """Tell whether the layer is unpacked."""
        try:
            return self._snapshots.stat(chain_id).kind == "committed"
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
        """Return the bytes of a layer's files, counting them if nobody wrote that down."""
        size = self._records.layer_size(chain_id)
        if size is None:
            try:
                size = self._snapshots.usage(chain_id).size_bytes
            except NotFoundError:
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
        infos = list(self._snapshots.walk())
        for info in infos:
            with self._lock:
                stale = info.name.startswith(_KEY_PREFIX) and info.name not in self._active
            if stale:
                self._snapshots.remove(info.name)
                removed += 1
        for name in _deepest_first(infos):
            if is_digest(name) and self.remove_unused(name):
                removed += 1
        return removed

    def _extract(self, layer: PlannedLayer, stream: BinaryIO, verify: Callable[[], None]) -> None:
        key = _KEY_PREFIX + new_id()
        with self._lock:
            self._active.add(key)
        try:
            self._snapshots.prepare(key, layer.parent or None)
            try:
                applied = self._apply_to(key, stream, layer)
                verify()
                _check_diff_id(layer, applied)
                self._snapshots.commit(layer.chain_id, key)
            except BaseException:
                self._snapshots.remove(key)
                raise
        finally:
            with self._lock:
                self._active.discard(key)
        self._records.put_layer_size(layer.chain_id, applied.size_bytes)

    def _apply_to(self, key: str, stream: BinaryIO, layer: PlannedLayer) -> AppliedLayer:
        target = self._snapshots.diff_path(key)
        name = f"layer {short_id(layer.diff_id)}"
        try:
            return self._apply(stream, target, self._snapshots.lower_paths(key), name)
        except (DataLossError, InvalidParameterError) as error:
            # A layer that is no layer is damage, not somebody's wrong argument.
            raise DataLossError(f"failed to register {error}") from error
        except SystemFailureError as error:
            raise SystemFailureError(f"failed to register {error}") from error

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


def _check_diff_id(layer: PlannedLayer, applied: AppliedLayer) -> None:
    if applied.diff_id != layer.diff_id:
        raise DataLossError(
            f"layer {layer.diff_id} does not match its diff_id:"
            f" the unpacked bytes are {applied.diff_id}"
        )


def _deepest_first(infos: Sequence[SnapshotFacts]) -> list[str]:
    """Return the committed snapshots' names, every child before its parent."""
    parents = {info.name: info.parent for info in infos if info.kind == "committed"}
    order: dict[str, None] = {}
    for name in parents:
        branch: list[str] = []
        walker: str | None = name
        while walker in parents and walker not in order:
            branch.append(walker)
            walker = parents[walker]
        order.update(dict.fromkeys(reversed(branch)))
    return list(reversed(order))
