"""Dispositions of signals the C library keeps for itself, which `signal` refuses to touch."""

from __future__ import annotations

import ctypes
import os
import sys

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final


_SYS_RT_SIGACTION: Final = ctypes.c_long({"x86_64": 13}.get(os.uname().machine, 134))
_SIGSET_SIZE: Final = ctypes.c_size_t(8)
# The same on every architecture kedge runs on; `signal` makes an enumeration of them, for 6 ms.
SIGHUP: Final = 1
SIGINT: Final = 2
SIGQUIT: Final = 3
SIGKILL: Final = 9
SIGUSR1: Final = 10
SIGUSR2: Final = 12
SIGPIPE: Final = 13
SIGTERM: Final = 15
SIGCHLD: Final = 17
SIGCONT: Final = 18
SIGSTOP: Final = 19
SIGWINCH: Final = 28
COUNT: Final = 65
"""One more than the highest."""

# SIGCANCEL and SIGSETXID of glibc's and musl's threads.
_RESERVED: Final = (32, 33)

_SFD_CLOEXEC: Final = os.O_CLOEXEC
_SIG_BLOCK: Final = 0
# Of glibc; the kernel's has 8 bytes.
_SET_BYTES: Final = 128
# struct signalfd_siginfo, which begins with the number.
_INFO_BYTES: Final = 128

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


def open_signals(numbers: Iterable[int]) -> int:
    """Hold these signals back from this process, and return a descriptor to read them from."""
    mask = sum(1 << (number - 1) for number in numbers).to_bytes(_SET_BYTES, "little")
    check(int(LIBC.sigprocmask(_SIG_BLOCK, mask, None)))
    return check(int(LIBC.signalfd(-1, mask, _SFD_CLOEXEC)))


def read_signal(descriptor: int) -> int:
    """Return the number of the next signal at a descriptor of `open_signals`; waits for one."""
    return int.from_bytes(os.read(descriptor, _INFO_BYTES)[:4], sys.byteorder)
