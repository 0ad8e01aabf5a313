"""`Snapshotter`: what every way of stacking layers on disk can do.

Vocabulary of containerd: a snapshot is *prepared* from a parent, used through its mounts, and
*committed* under a name to become a parent itself. Nothing is mounted by a snapshotter.
Implementations: `kedge.snapshots.overlay`, `kedge.snapshots.vfs`.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import BinaryIO, NamedTuple, Protocol

from kedge.archive.apply import Applied
from kedge.archive.changes import Change
from kedge.archive.entry import Entry
from kedge.archive.layered import LayerStack
from kedge.archive.writer import Writable, Written
from kedge.oci.mounts import Mount


class SnapshotKind(StrEnum):
    """What may happen to a snapshot."""

    ACTIVE = "active"
    """Writable; the file system of a container or of a layer being made."""
    VIEW = "view"
    """Readable only; cannot be committed."""
    COMMITTED = "committed"
    """A finished layer, which may be a parent; never changes again."""


class Usage(NamedTuple):
    """What a snapshot adds to its parent."""

    size_bytes: int
    """Sum of the sizes of its files, each inode once, directories not counted, as Docker."""
    inodes: int


class SnapshotInfo(NamedTuple):
    """The record of a snapshot."""

    name: str
    kind: SnapshotKind
    parent: str | None
    created_ns: int
    size_bytes: int | None
    """Known once it is committed."""


class Snapshotter(Protocol):
    """Keeps snapshots; every method may be called from any thread.

    Keys and names share one name space; a layer's name is its chain id.
    """

    @property
    def driver(self) -> str:
        """Docker's name for this kind of storage."""
        ...

    def prepare(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make an active snapshot on top of a committed one and return its mounts.

        Raises:
            ConflictError: ``key`` exists, or ``parent`` is not committed.
            NotFoundError: There is no ``parent``.
        """
        ...

    def view(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make a read-only snapshot of ``parent``; errors as `prepare`."""
        ...

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """Return the mounts of an active snapshot or a view.

        Raises:
            NotFoundError: There is no such snapshot.
            ConflictError: It is committed.
        """
        ...

    def commit(self, name: str, key: str, *, usage: Usage | None = None) -> None:
        """Turn the active snapshot ``key`` into the layer ``name``.

        The record survives a crash of this process at once, a power cut after `sync`.

        Args:
            name: Its name from now on.
            key: Its name so far, free afterwards.
            usage: What it holds, where the caller knows; otherwise it is counted.

        Raises:
            ConflictError: ``name`` exists, or ``key`` is not active.
            NotFoundError: There is no ``key``.
        """
        ...

    def sync(self) -> None:
        """Flush committed layers to disk. Call it once after a pull or a build.

        Without it a power cut makes the next open forget layers of the boot before.
        """
        ...

    def remove(self, key: str) -> None:
        """Forget a snapshot; `purge` frees its space.

        Raises:
            NotFoundError: There is no such snapshot.
            ConflictError: It is the parent of another.
        """
        ...

    def purge(self) -> int:
        """Delete what was removed, from disk too; return how many snapshots that were.

        Slow, safe to repeat and to call from a thread of its own. Call it after opening, too.
        """
        ...

    def stat(self, key: str) -> SnapshotInfo:
        """Return the record of a snapshot. Raises NotFoundError."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is such a snapshot."""
        ...

    def usage(self, key: str) -> Usage:
        """Return what a snapshot holds: counted now unless it is committed."""
        ...

    def walk(self) -> list[SnapshotInfo]:
        """Return every snapshot, parents before children."""
        ...

    def diff_path(self, key: str) -> str:
        """Return the directory that takes a snapshot's writes."""
        ...

    def lower_paths(self, key: str) -> tuple[str, ...]:
        """Return the layer directories that show through ``diff_path``, top first."""
        ...

    def layer_paths(self, key: str) -> tuple[str, ...]:
        """Return ``diff_path`` and ``lower_paths`` together: what a `LayerStack` takes."""
        ...

    def open_tree(self, key: str) -> LayerStack:
        """Return a reader of the whole file system a snapshot shows, mounted or not."""
        ...

    def apply(
        self,
        key: str,
        stream: BinaryIO,
        *,
        on_progress: Callable[[int], None] | None = None,
        name: str = "layer",
    ) -> Applied:
        """Apply an uncompressed layer to an active snapshot; see `archive.apply_layer`."""
        ...

    def extract(
        self,
        key: str,
        stream: BinaryIO,
        *,
        directory: str = "",
        change: Callable[[Entry], Entry | None] | None = None,
        keep_kinds: bool = False,
    ) -> Applied:
        """Extract a plain tar stream into an active snapshot nobody has mounted."""
        ...

    def write_diff(
        self, key: str, out: Writable, *, change: Callable[[Entry], Entry | None] | None = None
    ) -> Written:
        """Write what a snapshot adds to its parent as an uncompressed OCI layer."""
        ...

    def changes(self, key: str, *, stubs: frozenset[str] = frozenset()) -> list[Change]:
        """Return what a snapshot changed in its parent; ``stubs`` as `overlay_changes` has them."""
        ...
