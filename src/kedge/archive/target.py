"""`TargetTree`: the directory an archive is extracted into, seen only through descriptors.

Every name is opened relative to the descriptor of its parent and without following a link. A
parent that *is* a link is legal in a layer (``/lib`` to ``usr/lib``); the kernel, or the layer
stack, then resolves it inside the root. So no spelling of a path leaves the root, and no path is
resolved twice: descriptors of recently used directories are kept.
"""

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final, Self

from kedge.archive.layered import LayerStack, Node
from kedge.archive.whiteouts import is_whiteout, make_opaque
from kedge.archive.xattrs import copy_xattrs
from kedge.errdefs import InvalidParameterError
from kedge.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_KEPT: Final = 64
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_PLAIN: Final = _OPEN_DIRECTORY | os.O_NOFOLLOW
_PATH_MAX: Final = 4095


def clean_path(name: str) -> str:
    """Return an archive's name for something as a path below the root; empty for the root.

    Raises:
        InvalidParameterError: ``..`` leads out of the archive, or the name is too long.
    """
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts:
        kept: list[str] = []
        for part in parts:
            if part == "..":
                if not kept:
                    raise InvalidParameterError(f"{name}: the path leads out of the archive")
                kept.pop()
            elif part not in ("", "."):
                kept.append(part)
        parts = kept
        name = "/".join(parts)
    if len(name) > _PATH_MAX:
        raise InvalidParameterError(f"{name[:60]}...: the path is longer than {_PATH_MAX} bytes")
    return name


class TargetTree:
    """The tree under construction; a context manager.

    Paths given to its methods are clean, see `clean_path`.
    """

    def __init__(self, root: str, lower: Sequence[str] = (), *, for_overlay: bool = False) -> None:
        """Open ``root``.

        Args:
            root: Existing directory; a link or ``/proc/<pid>/root`` is followed.
            lower: Layer directories below it, top first.
            for_overlay: ``root`` is a layer of an overlay mount.
        """
        self.root_fd = os.open(root, _OPEN_DIRECTORY)
        self.for_overlay = for_overlay
        self._merged: LayerStack | None = None
        self._kept: dict[str, int] = {}
        self.times: dict[str, int] = {}
        """Modification times, in nanoseconds, directories get once they are complete."""
        if lower:
            try:
                self._merged = LayerStack((root, *lower))
            except BaseException:
                os.close(self.root_fd)
                raise

    def __enter__(self) -> Self:
        """Return the tree itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every descriptor."""
        self.forget()
        os.close(self.root_fd)
        if self._merged is not None:
            self._merged.close()

    @property
    def merged(self) -> LayerStack | None:
        """The target over its lower layers, where it has any."""
        return self._merged

    def forget(self, keep_fd: int = -1) -> None:
        """Drop what is known about directories, because one was removed or replaced.

        Args:
            keep_fd: A descriptor of this tree that stays open.
        """
        for path, descriptor in list(self._kept.items()):
            if descriptor != keep_fd:
                del self._kept[path]
                os.close(descriptor)

    def directory(self, path: str) -> int:
        """Return a descriptor of a directory, made if it is missing, as parents are.

        It stays open until the next call of this method.

        Raises:
            InvalidParameterError: Something that is no directory stands in the way.
        """
        if not path:
            return self.root_fd
        kept = self._kept.pop(path, None)
        if kept is not None:
            self._kept[path] = kept
            return kept
        return self._descend(path)

    def keep(self, path: str, descriptor: int) -> None:
        """Take over the descriptor of the directory at ``path``, which was just made."""
        if len(self._kept) >= _KEPT:
            os.close(self._kept.pop(next(iter(self._kept))))
        previous = self._kept.pop(path, None)
        if previous is not None:
            os.close(previous)
        self._kept[path] = descriptor

    def finish(self) -> None:
        """Give directories their times; whatever else changed them is over."""
        for path, time_ns in self.times.items():
            descriptor = self.open_existing(path)
            if descriptor is None:
                continue  # a later entry replaced it
            try:
                os.utime(descriptor, ns=(time_ns, time_ns))
            finally:
                os.close(descriptor)
        self.times.clear()

    def open_existing(self, path: str) -> int | None:
        """Return a new descriptor of a directory of the target itself, which the caller closes.

        None if there is no such directory: nothing is made, a link in the last place refused.
        """
        try:
            return open_in_root(self.root_fd, path or ".", _OPEN_PLAIN)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
        # A parent may be a link that only a lower layer has.
        node = None if self._merged is None else self._merged.lookup(path, follow=False)
        if node is None or node.path == path or node.layers[0] != 0 or not node.is_directory:
            return None
        return open_in_root(self.root_fd, node.path, _OPEN_PLAIN)

    def _descend(self, path: str) -> int:
        parts = path.split("/")
        known = len(parts) - 1
        while known and "/".join(parts[:known]) not in self._kept:
            known -= 1
        reached = "/".join(parts[:known])
        descriptor = self.directory(reached)
        for part in parts[known:]:
            reached = f"{reached}/{part}" if reached else part
            try:
                child = os.open(part, _OPEN_PLAIN, dir_fd=descriptor)
            except OSError:
                child = self._open_unusual(descriptor, part, reached)
            self.keep(reached, child)
            descriptor = child
        return descriptor

    def _open_unusual(self, parent_fd: int, name: str, path: str) -> int:
        """Open a directory that is missing, a link, or hidden by a whiteout."""
        try:
            status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return self._make_implied(parent_fd, name, path)
        if stat.S_ISLNK(status.st_mode):
            return self._follow_link(path)
        if self.for_overlay and is_whiteout(status):
            os.unlink(name, dir_fd=parent_fd)
            descriptor = make_directory(name, parent_fd)
            make_opaque(descriptor)
            return descriptor
        raise InvalidParameterError(f"{path}: is not a directory")

    def _make_implied(self, parent_fd: int, name: str, path: str) -> int:
        if self._merged is not None:
            node = self._merged.lookup(path)
            if node is not None:
                return self._copy_up(node, path)
        descriptor = make_directory(name, parent_fd)
        os.fchmod(descriptor, 0o755)
        return descriptor

    def _follow_link(self, path: str) -> int:
        """Open the directory a link in the tree leads to, both inside the root."""
        if self._merged is not None:
            node = self._merged.lookup(path)
            if node is not None:
                return self._copy_up(node, path)
        try:
            return open_in_root(self.root_fd, path, _OPEN_DIRECTORY)
        except OSError as error:
            raise InvalidParameterError(
                f"{path}: the link leads to no directory: {error.strerror}"
            ) from None

    def _copy_up(self, node: Node, path: str) -> int:
        """Make a directory of the merged view, and its parents, exist in the target itself."""
        if self._merged is None or not node.is_directory:
            raise InvalidParameterError(f"{path}: is not a directory")
        descriptor = os.dup(self.root_fd)
        reached = ""
        for part in node.path.split("/") if node.path else ():
            reached = f"{reached}/{part}" if reached else part
            try:
                child = os.open(part, _OPEN_PLAIN, dir_fd=descriptor)
            except FileNotFoundError:
                child = self._copy_directory(descriptor, part, self._merged.require(reached))
            finally:
                os.close(descriptor)
            descriptor = child
        return descriptor

    def _copy_directory(self, parent_fd: int, name: str, node: Node) -> int:
        """Make one directory with the metadata the layers below give it."""
        descriptor = make_directory(name, parent_fd)
        status = node.status
        os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        if self._merged is not None:
            copy_xattrs(self._merged.real_path(node), descriptor)
        self.times.setdefault(node.path, status.st_mtime_ns)
        return descriptor


def make_directory(name: str, parent_fd: int) -> int:
    """Make a directory and return its descriptor.

    Raises:
        FileExistsError: The name is taken.
    """
    os.mkdir(name, 0o700, dir_fd=parent_fd)
    return os.open(name, _OPEN_PLAIN, dir_fd=parent_fd)


def open_in_root(root_fd: int, path: str, flags: int) -> int:
    """Open ``path`` with every link in it resolved as if ``root_fd`` were the root."""
    while True:
        try:
            return openat2(root_fd, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except BlockingIOError:
            # EAGAIN: something was renamed meanwhile, so the kernel cannot vouch for "..".
            continue
