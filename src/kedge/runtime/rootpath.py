"""Paths inside a root file system that is not ours to trust.

Every lookup goes through ``openat2`` with ``RESOLVE_IN_ROOT``: symlinks, absolute ones included,
are followed as the container would follow them and cannot lead out. Making a missing mount point
follows a dangling symlink the same way, one component at a time (``/etc/resolv.conf`` of many
images is one), and never looks a path up twice: what was opened is what is mounted on.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import ForbiddenError, KedgeError
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from kedge.runtime.failures import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final


_IN_ROOT: Final = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_LINKS_MAX: Final = 40
_RETRIES: Final = 128


class RootPath:
    """A root directory, what was created in it, and lookups that stay inside."""

    __slots__ = ("_device", "_pinned", "_prefix", "created", "fd")

    def __init__(self, fd: int) -> None:
        """Use the directory ``fd`` as root."""
        self.fd = fd
        self._device = os.fstat(fd).st_dev
        self._prefix = ""
        self._pinned: dict[str, RootPath] = {}
        self.created: list[str] = []

    def pin(self, place: str, fd: int) -> None:
        """Have `open_pinned` begin at ``fd`` for what is at or below ``place``; duplicates it."""
        self.unpin(place)
        self._pinned[place] = RootPath(os.dup(fd))

    def unpin(self, *places: str) -> None:
        """Forget what was pinned."""
        for place in places:
            if place in self._pinned:
                os.close(self._pinned.pop(place).fd)

    def open_pinned(self, path: str) -> int:
        """Open ``path``, below what is pinned without looking at the names that lead there.

        Whoever shares the folder that holds the root can exchange its names for a moment, so that
        what is hidden under a path is not what will be found there later.

        Raises:
            OSError: As ``openat2``; ELOOP for a symlink below /proc or /sys.
        """
        for place, pinned in self._pinned.items():
            if path == place or path.startswith(f"{place}/"):
                return pinned.open(path[len(place) :] or "/", no_symlinks=True)
        return self.open(path, no_symlinks=path.startswith(("/proc/", "/sys/")))

    def open(self, path: str, flags: int = os.O_PATH, *, no_symlinks: bool = False) -> int:
        """Open ``path``, which is absolute or relative to the root.

        Raises:
            OSError: As ``openat2``.
        """
        resolve = _IN_ROOT | (RESOLVE_NO_SYMLINKS if no_symlinks else 0)
        for _ in range(_RETRIES):
            try:
                return openat2(self.fd, path, flags, 0, resolve)
            except BlockingIOError:  # a rename somewhere made the kernel give up; try again
                continue
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)

    def ensure_directory(self, path: str, *, mode: int = 0o755) -> int:
        """Return a descriptor of the directory ``path``, made with its parents if missing."""
        return self._ensure(path, lambda name, fd: os.mkdir(name, mode, dir_fd=fd), _LINKS_MAX)

    def ensure_file(self, path: str) -> int:
        """Return a descriptor of the file ``path``, made empty and with its parents if missing."""
        return self._ensure(path, _make_file, _LINKS_MAX)

    def _ensure(self, path: str, make: Callable[[str, int], None], links: int) -> int:
        try:
            return self.open(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise refusal(f"cannot open {path} in the container", error) from error
        parent_path, name = os.path.split(path.rstrip("/"))
        if name in ("", ".", ".."):
            raise ForbiddenError(f"{path} in the container is no name to create")
        parent = self._ensure(
            parent_path or "/", lambda each, fd: os.mkdir(each, 0o755, dir_fd=fd), links
        )
        try:
            return self._make(parent, parent_path, name, make, links)
        except OSError as error:
            raise self._cannot_create(path, error) from error
        finally:
            os.close(parent)

    def _make(
        self, parent: int, parent_path: str, name: str, make: Callable[[str, int], None], links: int
    ) -> int:
        try:
            make(name, parent)
        except FileExistsError:
            # Either somebody was faster, or this is a symlink to something that does not exist.
            try:
                target = os.readlink(name, dir_fd=parent)
            except OSError:
                return self.open(f"{parent_path}/{name}")
            if links == 0:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
            return self._ensure(os.path.join(parent_path, target), make, links - 1)
        if os.fstat(parent).st_dev == self._device:
            self.created.append(self._inside(parent, name))
        return openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS)

    def place_of(self, fd: int) -> str:
        """Return where ``fd`` is, as the container sees it, without symlinks."""
        if not self._prefix:
            self._prefix = os.readlink(f"/proc/self/fd/{self.fd}").rstrip("/")
        path = os.readlink(f"/proc/self/fd/{fd}")
        return path.removeprefix(self._prefix) or "/"

    def _inside(self, parent: int, name: str) -> str:
        """Return the path of ``name`` in ``parent`` as the container sees it."""
        return f"{self.place_of(parent).rstrip('/')}/{name}"

    @staticmethod
    def _cannot_create(path: str, error: OSError) -> KedgeError:
        return refusal(f"cannot create the mount point {path} in the container", error)


def _make_file(name: str, directory: int) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o644, dir_fd=directory))
