"""``seccomp(2)``: giving the calling thread a system call filter, and asking what there is.

The kernel wants ``no_new_privs`` or CAP_SYS_ADMIN in the caller's user namespace. A container
without ``no_new_privs`` must therefore load its filter before it drops capabilities, one with it
as late as possible, so that the filter need not allow what the set-up does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from typing import Final


# include/uapi/linux/seccomp.h
FILTER_FLAG_TSYNC: Final = 1 << 0
FILTER_FLAG_LOG: Final = 1 << 1
FILTER_FLAG_SPEC_ALLOW: Final = 1 << 2
FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
FILTER_FLAG_TSYNC_ESRCH: Final = 1 << 4
FILTER_FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5

_SET_MODE_FILTER: Final = 1
_GET_ACTION_AVAIL: Final = 2
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_NR_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_INSTRUCTION_BYTES: Final = 8

_syscall = LIBC.syscall
_prctl = LIBC.prctl


def set_filter(program: bytes, flags: int = 0) -> int:
    """Install ``program`` for the calling thread, after every filter it already has.

    ``FILTER_FLAG_SPEC_ALLOW`` and ``FILTER_FLAG_LOG`` are given up where the kernel is too old for
    them (4.17, 4.14): neither changes what is allowed. A kernel without ``seccomp(2)`` (3.17) is
    asked by ``prctl(2)``, if no flag remains.

    Args:
        program: ``struct sock_filter`` array.
        flags: ``FILTER_FLAG_*``.

    Returns:
        The listener's descriptor with ``FILTER_FLAG_NEW_LISTENER``, otherwise 0. With
        ``FILTER_FLAG_TSYNC`` the id of a thread that could not follow.

    Raises:
        OSError: EACCES without ``no_new_privs`` and CAP_SYS_ADMIN; EINVAL for a program the kernel
            does not accept.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog, with the padding before its pointer
    header = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(buffer))
    fprog = ctypes.create_string_buffer(header, len(header))
    try:
        return _seccomp(_SET_MODE_FILTER, flags, fprog)
    except OSError as error:
        optional = flags & (FILTER_FLAG_SPEC_ALLOW | FILTER_FLAG_LOG)
        if error.errno == errno.ENOSYS and optional == flags:
            return check(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, fprog, 0, 0))
        if error.errno != errno.EINVAL or not optional:
            raise
    newest = FILTER_FLAG_SPEC_ALLOW if flags & FILTER_FLAG_SPEC_ALLOW else FILTER_FLAG_LOG
    return set_filter(program, flags & ~newest)


def is_action_available(action: int) -> bool:
    """Tell whether the kernel knows a filter's return value (without its data)."""
    try:
        _seccomp(_GET_ACTION_AVAIL, 0, ctypes.c_uint32(action))
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            return False
        raise
    return True


def _seccomp(
    operation: int, flags: int, argument: ctypes.Array[ctypes.c_char] | ctypes.c_uint32
) -> int:
    machine = os.uname().machine
    number = _NR_SECCOMP.get(machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"no number for this system call on {machine}", "seccomp")
    result = _syscall(
        ctypes.c_long(number),
        ctypes.c_uint(operation),
        ctypes.c_uint(flags),
        ctypes.byref(argument),
    )
    return check(int(result), "seccomp")
