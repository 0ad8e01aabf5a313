"""`DirectorySnapshotter`: what the overlay and the vfs snapshotter have in common."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import BinaryIO, ClassVar, Final

from kedge.archive.apply import Applied, ChangeEntry, WhiteoutStyle, apply_layer, extract_tar
from kedge.archive.changes import Change
from kedge.archive.layered import LayerStack
from kedge.archive.writer import Writable, Written
from kedge.archive.xattrs import copy_xattrs
from kedge.errdefs import ConflictError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.oci.mounts import Mount
from kedge.snapshots.snapshotter import SnapshotInfo, SnapshotKind, Usage
from kedge.snapshots.store import Record, SnapshotStore

_ROOT_MODE: Final = 0o755


class DirectorySnapshotter(ABC):
    """Records, removal and reading; a subclass says how content is kept and mounted.

    The content of a snapshot is ``<root>/<n>/fs``. Methods are those of the `Snapshotter`
    protocol and promise what it says.
    """

    driver_name: ClassVar[str]
    whiteouts: ClassVar[WhiteoutStyle]

    def __init__(
        self, root: str, database: Database, *, clock: Clock = SYSTEM_CLOCK, boot: str | None = None
    ) -> None:
        """Open the driver's directory ``root`` and put right what a crash left."""
        self._store = SnapshotStore(
            os.path.abspath(root), database, driver=self.driver_name, clock=clock, boot=boot
        )

    @property
    def driver(self) -> str:
        """Docker's name for this kind of storage."""
        return self.driver_name

    @property
    def recovered(self) -> tuple[str, ...]:
        """Names of snapshots whose content a crash took and which were forgotten at open."""
        return self._store.recovered

    @abstractmethod
    def prepare(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make an active snapshot."""

    @abstractmethod
    def view(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make a read-only snapshot."""

    @abstractmethod
    def write_diff(self, key: str, out: Writable, *, change: ChangeEntry | None = None) -> Written:
        """Write what a snapshot adds to its parent as an OCI layer."""

    @abstractmethod
    def changes(self, key: str, *, stubs: frozenset[str] = frozenset()) -> list[Change]:
        """Return what a snapshot changed in its parent."""

    @abstractmethod
    def lower_paths(self, key: str) -> tuple[str, ...]:
        """Return the layer directories that show through, top first."""

    @abstractmethod
    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        """Return the mounts of an active snapshot or a view."""

    @abstractmethod
    def _count(self, record: Record) -> Usage:
        """Count what a snapshot adds to its parent."""

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """Return the mounts of an active snapshot or a view."""
        record = self._store.get(key)
        if record.kind is SnapshotKind.COMMITTED:
            raise ConflictError(f"snapshot {key} is committed: prepare a new one from it")
        return self._mounts(record)

    def commit(self, name: str, key: str, *, usage: Usage | None = None) -> None:
        """Turn an active snapshot into a layer."""
        record = self._store.get(key)
        self._store.commit(name, record, usage or self._count(record))

    def sync(self) -> None:
        """Flush committed layers to disk."""
        self._store.sync()

    def remove(self, key: str) -> None:
        """Forget a snapshot."""
        self._store.remove(key)

    def purge(self) -> int:
        """Delete what was removed from disk."""
        return self._store.purge()

    def stat(self, key: str) -> SnapshotInfo:
        """Return the record of a snapshot."""
        return self._store.get(key).info

    def exists(self, key: str) -> bool:
        """Tell whether there is such a snapshot."""
        return self._store.try_get(key) is not None

    def usage(self, key: str) -> Usage:
        """Return what a snapshot holds."""
        record = self._store.get(key)
        return record.usage or self._count(record)

    def walk(self) -> list[SnapshotInfo]:
        """Return every snapshot."""
        return [record.info for record in self._store.walk()]

    def diff_path(self, key: str) -> str:
        """Return the directory that takes a snapshot's writes."""
        return self._files(self._store.get(key).number)

    def layer_paths(self, key: str) -> tuple[str, ...]:
        """Return every directory of a snapshot, top first."""
        return (self.diff_path(key), *self.lower_paths(key))

    def open_tree(self, key: str) -> LayerStack:
        """Return a reader of the whole file system of a snapshot."""
        return LayerStack(self.layer_paths(key))

    def apply(
        self,
        key: str,
        stream: BinaryIO,
        *,
        on_progress: Callable[[int], None] | None = None,
        name: str = "layer",
    ) -> Applied:
        """Apply an uncompressed layer to an active snapshot."""
        self._require_active(key)
        return apply_layer(
            stream,
            self.diff_path(key),
            whiteouts=self.whiteouts,
            lower=self.lower_paths(key),
            on_progress=on_progress,
            name=name,
        )

    def extract(
        self,
        key: str,
        stream: BinaryIO,
        *,
        directory: str = "",
        change: ChangeEntry | None = None,
        keep_kinds: bool = False,
    ) -> Applied:
        """Extract a plain tar stream into an active snapshot."""
        self._require_active(key)
        return extract_tar(
            stream,
            self.diff_path(key),
            directory=directory,
            change=change,
            lower=self.lower_paths(key),
            keep_kinds=keep_kinds,
        )

    def _require_active(self, key: str) -> None:
        kind = self._store.get(key).kind
        if kind is not SnapshotKind.ACTIVE:
            raise ConflictError(f"snapshot {key} is {kind}, not active")

    def _files(self, number: int) -> str:
        return os.path.join(self._store.directory(number), "fs")

    def _make_files(self, record: Record) -> None:
        """Make the content directory, whose metadata are those of the root below it."""
        files = self._files(record.number)
        os.mkdir(files, _ROOT_MODE)
        if record.parent is None:
            os.chmod(files, _ROOT_MODE)  # whatever the umask
            return
        # Overlayfs shows the root of the top layer, so it must not differ from the one below.
        parent = self._files(record.parent)
        status = os.stat(parent)
        os.chown(files, status.st_uid, status.st_gid)
        os.chmod(files, stat.S_IMODE(status.st_mode))
        copy_xattrs(parent, files)
        os.utime(files, ns=(status.st_mtime_ns, status.st_mtime_ns))
