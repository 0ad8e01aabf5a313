"""Writing into the directory of a new layer as if it were mounted over the layers below.

Nothing is mounted: a path is resolved in the merged view, the directories on the
way are made in the new layer with the metadata they have below, and the file is made there. Only
this build writes to the directory, and every step of a path is a real directory in it, so no
link in the image or the context leads outside.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kedge.archive.entry import Entry, Kind
from kedge.archive.removal import remove_tree
from kedge.archive.xattrs import set_xattrs
from kedge.builder.files.directory import entry_at
from kedge.builder.files.tree import ROOT_ENTRY, Tree, resolve
from kedge.errdefs import InvalidParameterError

_NODE_TYPES: Final = {
    Kind.CHAR_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
WriteContent = Callable[[int], None]
"""Writes the content of a file to a descriptor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """How directories come to be that nobody described: parents of a destination."""

    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0

    def directory(self) -> Entry:
        """Return the entry of such a directory."""
        return ROOT_ENTRY._replace(uid=self.uid, gid=self.gid, mtime_ns=self.mtime_ns)


class Destination:
    """The new layer ``upper`` over what is ``below`` it; `finish` comes last."""

    def __init__(self, upper: str, below: Tree) -> None:
        self._upper = upper
        self._lower = below
        self._made: set[str] = {""}
        self._times: dict[str, int] = {}

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path`` in the merged view."""
        full = self._full(path)
        try:
            status = os.lstat(full)
        except NotADirectoryError:
            return None
        except FileNotFoundError:
            return None if self._is_hidden(path) else self._lower.entry(path)
        if not path:
            return self._lower.entry("") or ROOT_ENTRY
        return entry_at(full, status)

    def resolve(self, path: str) -> str:
        """Return what ``path`` is once every link is followed in the merged view."""
        return resolve(self, path)

    def is_directory(self, path: str) -> bool:
        """Say whether ``path`` is a directory in the merged view."""
        found = self.entry(path)
        return found is not None and found.kind is Kind.DIRECTORY

    def ensure_directory(self, path: str, created: Created) -> None:
        """Make the directory ``path`` (resolved) and its parents exist in the new layer.

        What exists below keeps its metadata; what does not is made as ``created`` says.

        Raises:
            InvalidParameterError: Something on the way is no directory.
        """
        if path in self._made:
            return
        parent = path.rpartition("/")[0]
        self.ensure_directory(parent, created)
        found = self.entry(path)
        if found is not None and found.kind is not Kind.DIRECTORY:
            raise InvalidParameterError(f"cannot copy to non-directory: /{path}")
        self._make_directory(path, found or created.directory())

    def put_directory(self, path: str, entry: Entry, *, overwrite: bool, replace: bool) -> None:
        """Make a directory; its parent must be there.

        Args:
            path: Where, resolved.
            entry: Its metadata.
            overwrite: An existing directory takes the metadata too.
            replace: Something else in the way is removed, as tar does; otherwise an error.

        Raises:
            InvalidParameterError: Something in the way is no directory.
        """
        found = self.entry(path)
        if found is not None and found.kind is not Kind.DIRECTORY:
            if not replace:
                raise InvalidParameterError(f"cannot copy to non-directory: /{path}")
            self._clear(path)
            found = None
        if found is None or overwrite:
            self._make_directory(path, entry)
        elif path not in self._made:
            self._make_directory(path, found)

    def put(self, path: str, entry: Entry, write: WriteContent, *, replace: bool) -> None:
        """Make a file, link or node; its parent must be there.

        Raises:
            InvalidParameterError: A directory is in the way and ``replace`` is off.
        """
        found = self.entry(path)
        if found is not None:
            if found.kind is Kind.DIRECTORY and not replace:
                raise InvalidParameterError(f"cannot overwrite directory /{path} with a file")
            self._clear(path)
        full = self._full(path)
        if entry.kind is Kind.REGULAR:
            _write_file(full, entry, write)
            return
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.link_target, full)
        else:
            os.mknod(full, _NODE_TYPES[entry.kind] | 0o600, os.makedev(*entry.device))
        _set_metadata(full, entry)

    def finish(self) -> None:
        """Set the times of directories, which writing into them had changed."""
        for path, mtime_ns in self._times.items():
            os.utime(self._full(path), ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def _full(self, path: str) -> str:
        return f"{self._upper}/{path}" if path else self._upper

    def _is_hidden(self, path: str) -> bool:
        """Say whether a non-directory of the new layer stands where a parent of ``path`` was."""
        parent = path.rpartition("/")[0]
        while parent:
            try:
                return not stat.S_ISDIR(os.lstat(self._full(parent)).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                parent = parent.rpartition("/")[0]
        return False

    def _make_directory(self, path: str, entry: Entry) -> None:
        full = self._full(path)
        if path not in self._made:
            # It is there already where layers are full copies of what is below.
            with suppress(FileExistsError):
                os.mkdir(full, 0o700)
            self._made.add(path)
        _set_metadata(full, entry)
        self._times[path] = entry.mtime_ns

    def _clear(self, path: str) -> None:
        """Remove what the new layer itself has at ``path``; what is below gets covered."""
        inside = f"{path}/"
        for made in [each for each in self._made if each == path or each.startswith(inside)]:
            self._made.discard(made)
            self._times.pop(made, None)
        root = os.open(self._upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(path, dir_fd=root)
        finally:
            os.close(root)


def _write_file(full: str, entry: Entry, write: WriteContent) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(full, flags, 0o600)
    try:
        write(descriptor)
        if entry.uid or entry.gid:
            os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode)
        set_xattrs(descriptor, entry.xattrs)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)


def _set_metadata(full: str, entry: Entry) -> None:
    os.chown(full, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind is not Kind.SYMLINK:
        # chown takes setuid and setgid away, so the mode comes after it.
        os.chmod(full, entry.mode)
        set_xattrs(full, entry.xattrs)
    os.utime(full, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
