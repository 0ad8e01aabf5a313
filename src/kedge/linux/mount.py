"""Mount system calls: the classic ``mount(2)`` and the file-descriptor based mount API.

Wrappers only. Each function issues one system call (`mount_options` apart), raises `OSError`
with the kernel's errno and the path it was about, and makes no decision. Policy lives in
`kedge.runtime`. Constants are those of include/uapi/linux/mount.h and fcntl.h.
"""

from __future__ import annotations

import ctypes
import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from typing import Final


MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_NOSYMFOLLOW: Final = 0x100
MS_NOATIME: Final = 0x400
MS_NODIRATIME: Final = 0x800
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_STRICTATIME: Final = 1 << 24

MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_RELATIME: Final = 0x0
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR__ATIME: Final = 0x70
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC

MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6

_SYS_OPEN_TREE: Final = ctypes.c_long(428)
_SYS_MOVE_MOUNT: Final = ctypes.c_long(429)
_SYS_FSOPEN: Final = ctypes.c_long(430)
_SYS_FSCONFIG: Final = ctypes.c_long(431)
_SYS_FSMOUNT: Final = ctypes.c_long(432)
_SYS_MOUNT_SETATTR: Final = ctypes.c_long(442)

_NUMBERS = {"aarch64": 41, "x86_64": 155}
_SYS_PIVOT_ROOT: Final = ctypes.c_long(_NUMBERS.get(os.uname().machine, 41))

_mount = LIBC.mount
_mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_umount2 = LIBC.umount2
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Attach a file system at ``target``, or change the mount there, as ``mount(2)``."""
    check(
        _mount(
            os.fsencode(source) or None,
            os.fsencode(target),
            os.fsencode(fstype) or None,
            flags,
            os.fsencode(data) or None,
        ),
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    """Detach the top mount at ``target``; ``MNT_DETACH`` lets its last user finish."""
    check(_umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace and move the old one to ``put_old``."""
    check(_syscall(_SYS_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old)), new_root)


def open_tree(directory_fd: int, path: str, flags: int) -> int:
    """Return a descriptor of the mount at ``path``, or of a detached copy (``OPEN_TREE_CLONE``)."""
    return int(
        check(
            _syscall(
                _SYS_OPEN_TREE,
                ctypes.c_int(directory_fd),
                os.fsencode(path),
                ctypes.c_uint(flags | OPEN_TREE_CLOEXEC),
            ),
            path,
        )
    )


def move_mount(mount_fd: int, target_fd: int, target: str = "") -> None:
    """Attach ``mount_fd`` at ``target`` below ``target_fd``, or on ``target_fd`` itself."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if target else MOVE_MOUNT_T_EMPTY_PATH)
    check(
        _syscall(
            _SYS_MOVE_MOUNT,
            ctypes.c_int(mount_fd),
            b"",
            ctypes.c_int(target_fd),
            os.fsencode(target),
            ctypes.c_uint(flags),
        ),
        target,
    )


def fsopen(fstype: str) -> int:
    """Return a descriptor for configuring a new file system of ``fstype``."""
    return int(
        check(_syscall(_SYS_FSOPEN, os.fsencode(fstype), ctypes.c_uint(FSOPEN_CLOEXEC)), fstype)
    )


def _fsconfig(context_fd: int, command: int, key: bytes | None, value: bytes | None) -> None:
    check(
        _syscall(
            _SYS_FSCONFIG,
            ctypes.c_int(context_fd),
            ctypes.c_uint(command),
            key,
            value,
            ctypes.c_int(0),
        ),
        None if key is None else os.fsdecode(key),
    )


def fsconfig_set_flag(context_fd: int, key: str) -> None:
    """Set an option that has no value, such as ``ro``."""
    _fsconfig(context_fd, _FSCONFIG_SET_FLAG, os.fsencode(key), None)


def fsconfig_set_string(context_fd: int, key: str, value: str) -> None:
    """Set ``key`` to ``value``."""
    _fsconfig(context_fd, _FSCONFIG_SET_STRING, os.fsencode(key), os.fsencode(value))


def fsconfig_create(context_fd: int) -> None:
    """Create the file system that was configured."""
    _fsconfig(context_fd, _FSCONFIG_CMD_CREATE, None, None)


def fsmount(context_fd: int, attributes: int = 0) -> int:
    """Return a descriptor of a detached mount of the created file system."""
    return int(
        check(
            _syscall(
                _SYS_FSMOUNT,
                ctypes.c_int(context_fd),
                ctypes.c_uint(FSMOUNT_CLOEXEC),
                ctypes.c_uint(attributes),
            )
        )
    )


def read_messages(context_fd: int) -> list[str]:
    """Return what the kernel logged to a file-system context, without the severity letter."""
    found: list[str] = []
    while True:
        try:
            line = os.read(context_fd, 8192)
        except OSError:
            return found
        found.append(os.fsdecode(line).strip()[2:])


def mount_setattr(
    fd: int,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
    recursive: bool = False,
) -> None:
    """Change the attributes of the mount ``fd`` (and of those below it when ``recursive``)."""
    attributes = _MountAttr(attr_set, attr_clr, propagation, userns_fd)
    check(
        _syscall(
            _SYS_MOUNT_SETATTR,
            ctypes.c_int(fd),
            b"",
            ctypes.c_uint(AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)),
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        )
    )
