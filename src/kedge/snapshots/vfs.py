"""`VfsSnapshotter`: every snapshot is a whole copy; works on any file system, at a price.

For hosts where overlayfs is impossible: an engine inside a container, a root without extended
attributes. Layers are told apart by comparing trees.
"""

from typing import ClassVar

from kedge.archive.apply import ChangeEntry, WhiteoutStyle
from kedge.archive.changes import Change, ChangeKind, tree_changes, write_changes
from kedge.archive.extract import Extractor
from kedge.archive.layered import LayerStack
from kedge.archive.members import read_members
from kedge.archive.writer import Writable, Written
from kedge.oci.mounts import Mount
from kedge.snapshots.directories import DirectorySnapshotter
from kedge.snapshots.overlay import bind_mount
from kedge.snapshots.snapshotter import SnapshotKind, Usage
from kedge.snapshots.store import Record
from kedge.snapshots.usage import count_usage


class VfsSnapshotter(DirectorySnapshotter):
    """Snapshots as copies."""

    driver_name: ClassVar[str] = "vfs"
    whiteouts: ClassVar[WhiteoutStyle] = "remove"

    def prepare(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make an active snapshot."""
        fill = None if parent is None else self._copy_parent
        record = self._store.create(
            key, SnapshotKind.ACTIVE, parent, make=self._make_files, fill=fill
        )
        return self._mounts(record)

    def view(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make a read-only snapshot."""
        record = self._store.create(key, SnapshotKind.VIEW, parent, make=self._make_files)
        return self._mounts(record)

    def write_diff(self, key: str, out: Writable, *, change: ChangeEntry | None = None) -> Written:
        """Write what a snapshot adds to its parent as an OCI layer."""
        with LayerStack((self.diff_path(key),)) as tree:
            return write_changes(tree, self.changes(key), out, change=change)

    def changes(self, key: str, *, stubs: frozenset[str] = frozenset()) -> list[Change]:
        """Return what a snapshot changed in its parent."""
        return self._changes(self._store.get(key), stubs)

    def lower_paths(self, key: str) -> tuple[str, ...]:
        """Return nothing: a copy is complete. A view shows its parent."""
        record = self._store.get(key)
        if record.kind is SnapshotKind.VIEW and record.parent is not None:
            return (self._files(record.parent),)
        return ()

    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        if record.kind is SnapshotKind.VIEW:
            number = record.number if record.parent is None else record.parent
            return (bind_mount(self._files(number), "ro"),)
        return (bind_mount(self._files(record.number), "rw"),)

    def _copy_parent(self, record: Record) -> None:
        if record.parent is None:
            return
        with (
            LayerStack((self._files(record.parent),)) as source,
            Extractor(self._files(record.number), name="copy") as copy,
        ):
            for member in read_members(source, source.require(""), ""):
                copy.add(member.entry, member.content)
            copy.finish()

    def _changes(self, record: Record, stubs: frozenset[str] = frozenset()) -> list[Change]:
        if record.kind is SnapshotKind.VIEW:
            return []
        with LayerStack((self._files(record.number),)) as tree:
            if record.parent is None:
                return [
                    Change(f"/{found.path}", ChangeKind.ADDED)
                    for found in sorted(tree.walk(tree.require("")))
                ]
            with LayerStack((self._files(record.parent),)) as before:
                return tree_changes(before, tree, stubs=stubs)

    def _count(self, record: Record) -> Usage:
        if record.parent is None:
            return count_usage(self._files(record.number))
        with LayerStack((self._files(record.number),)) as tree:
            nodes = [
                tree.require(change.path, follow=False)
                for change in self._changes(record)
                if change.kind is not ChangeKind.DELETED
            ]
        files = {
            (node.status.st_dev, node.status.st_ino): node.status.st_size
            for node in nodes
            if not node.is_directory
        }
        directories = sum(node.is_directory for node in nodes)
        return Usage(sum(files.values()), len(files) + directories + 1)
