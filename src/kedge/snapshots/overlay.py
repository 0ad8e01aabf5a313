"""`OverlaySnapshotter`: one directory for each layer, stacked by overlayfs at mount time.

Options follow what layers on disk need: no ``redirect_dir`` and no ``metacopy``, because a layer
must be readable and writable as a tar stream without following overlayfs's own attributes, and
no ``index``, because lower directories are shared between mounts.
"""

import os
from collections.abc import Sequence
from typing import ClassVar, Final

from kedge.archive.apply import ChangeEntry, WhiteoutStyle
from kedge.archive.changes import Change, overlay_changes
from kedge.archive.writer import Writable, Written, write_layer
from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.oci.mounts import Mount
from kedge.snapshots.directories import DirectorySnapshotter
from kedge.snapshots.snapshotter import SnapshotKind, Usage
from kedge.snapshots.store import Record
from kedge.snapshots.usage import count_usage

_PARAMETERS: Final = "/sys/module/overlay/parameters"
_OFF: Final = ("index", "redirect_dir", "metacopy")


class OverlaySnapshotter(DirectorySnapshotter):
    """Snapshots for overlayfs; needs no mount itself."""

    driver_name: ClassVar[str] = "overlay2"
    whiteouts: ClassVar[WhiteoutStyle] = "overlay"

    def __init__(
        self, root: str, database: Database, *, clock: Clock = SYSTEM_CLOCK, boot: str | None = None
    ) -> None:
        """Open ``root``, which must be on a file system overlayfs accepts as upper layer.

        Raises:
            InvalidParameterError: The path cannot be written in mount options.
        """
        if any(character in root for character in ',:\\"'):
            raise InvalidParameterError(
                f'{root}: overlay mounts cannot name a path with , : \\ or "; choose another root'
            )
        super().__init__(root, database, clock=clock, boot=boot)
        self._options = overlay_options()

    def prepare(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make an active snapshot."""
        record = self._store.create(key, SnapshotKind.ACTIVE, parent, make=self._make)
        return self._mounts(record)

    def view(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        """Make a read-only snapshot."""
        record = self._store.create(key, SnapshotKind.VIEW, parent, make=self._make_files)
        return self._mounts(record)

    def write_diff(self, key: str, out: Writable, *, change: ChangeEntry | None = None) -> Written:
        """Write what a snapshot adds to its parent as an OCI layer."""
        return write_layer(self.diff_path(key), out, lower=self.lower_paths(key), change=change)

    def changes(self, key: str, *, stubs: frozenset[str] = frozenset()) -> list[Change]:
        """Return what a snapshot changed in its parent."""
        return overlay_changes(self.diff_path(key), self.lower_paths(key), stubs=stubs)

    def lower_paths(self, key: str) -> tuple[str, ...]:
        """Return the layer directories that show through, top first."""
        return self._lower(self._store.get(key))

    def _lower(self, record: Record) -> tuple[str, ...]:
        return tuple(self._files(number) for number in self._store.ancestors(record))

    def _make(self, record: Record) -> None:
        self._make_files(record)
        os.mkdir(self._work(record), 0o700)

    def _work(self, record: Record) -> str:
        return os.path.join(self._store.directory(record.number), "work")

    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        lower = self._lower(record)
        files = self._files(record.number)
        if record.kind is SnapshotKind.VIEW:
            if len(lower) > 1:
                return (overlay_mount(lower, options=self._options),)
            return (bind_mount(lower[0] if lower else files, "ro"),)
        if not lower:
            return (bind_mount(files, "rw"),)
        places = (f"upperdir={files}", f"workdir={self._work(record)}")
        return (overlay_mount(lower, *places, options=self._options),)

    def _count(self, record: Record) -> Usage:
        return count_usage(self._files(record.number))


def bind_mount(path: str, access: str) -> Mount:
    """Return the mount that shows a directory, ``ro`` or ``rw``."""
    return Mount("bind", path, ("rbind", access))


def overlay_mount(lower: Sequence[str], *places: str, options: Sequence[str]) -> Mount:
    """Return the mount that stacks ``lower``, top first, under what ``places`` name."""
    return Mount("overlay", "overlay", (f"lowerdir={':'.join(lower)}", *places, *options))


def unflushed(mounts: tuple[Mount, ...], release: str = "") -> tuple[Mount, ...]:
    """Return the mounts of an active snapshot, to be mounted once, that flush nothing to disk.

    Without that, unmounting an overlay flushes the whole file system its upper directory is on,
    whoever wrote to it, and every ``fsync`` inside waits for the disk.

    Args:
        mounts: What `prepare` returned.
        release: Of the kernel, which knows ``volatile`` since 5.10; empty for the running one.
    """
    major, minor = (release or os.uname().release).split(".")[:2]
    if (int(major), int("".join(filter(str.isdigit, minor)))) < (5, 10):
        return mounts
    return tuple(
        each._replace(options=(*each.options, "volatile")) if each.type == "overlay" else each
        for each in mounts
    )


def overlay_options(parameters: str = _PARAMETERS) -> tuple[str, ...]:
    """Return the features to turn off, as far as the kernel knows them.

    Args:
        parameters: Where the module shows its parameters; a module that is not loaded yet is
            taken for a current one.
    """
    if not os.path.isdir(parameters):
        return tuple(f"{name}=off" for name in _OFF)
    known = os.listdir(parameters)
    return tuple(f"{name}=off" for name in _OFF if name in known)
