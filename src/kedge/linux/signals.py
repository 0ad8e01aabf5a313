"""Dispositions of signals the C library keeps for itself, which `signal` refuses to touch."""

from __future__ import annotations

import ctypes
import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from typing import Final


_SYS_RT_SIGACTION: Final = ctypes.c_long({"x86_64": 13}.get(os.uname().machine, 134))
_SIGSET_SIZE: Final = ctypes.c_size_t(8)
# SIGCANCEL and SIGSETXID of glibc's and musl's threads.
_RESERVED: Final = (32, 33)

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long


def reset_reserved_signals() -> None:
    """Give the reserved signals their default action.

    glibc's ``posix_spawn`` sets them to be ignored in what it starts, and ``execve`` hands that
    down, in the end to a container's program.
    """
    # struct kernel_sigaction: SIG_DFL, no flags, no restorer, empty mask.
    action = ctypes.create_string_buffer(32)
    for signum in _RESERVED:
        check(int(_syscall(_SYS_RT_SIGACTION, ctypes.c_int(signum), action, None, _SIGSET_SIZE)))
