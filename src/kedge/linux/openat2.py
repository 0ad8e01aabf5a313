"""`openat2(2)`: open a path with limits on how it may be resolved.

One system call and the constants of include/uapi/linux/openat2.h. No policy, no fallback: the
call needs Linux 5.6, and `OSError` with ``ENOSYS`` says so on older kernels.
"""

from __future__ import annotations

import ctypes
import os

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

# The same number on every architecture: added after the tables were unified.
_SYS_OPENAT2: Final = 437


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW_SIZE: Final = ctypes.sizeof(_OpenHow)

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_char_p,
    ctypes.POINTER(_OpenHow),
    ctypes.c_size_t,
)
_syscall.restype = ctypes.c_long


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` relative to ``dirfd`` and return the new, close-on-exec descriptor.

    Args:
        dirfd: Directory to start at; with `RESOLVE_IN_ROOT` also what ``/`` and ``..`` mean.
        path: Path; a NUL byte in it is refused with ``ValueError``.
        flags: ``os.O_*`` bits.
        mode: Permission bits, only together with ``O_CREAT`` (the kernel refuses them otherwise).
        resolve: ``RESOLVE_*`` bits.

    Raises:
        OSError: With the kernel's errno and ``path`` as its filename.
    """
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    descriptor = int(_syscall(_SYS_OPENAT2, dirfd, encoded, ctypes.byref(how), _HOW_SIZE))
    if descriptor < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), path)
    return descriptor
