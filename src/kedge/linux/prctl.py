"""``prctl(2)``: the attributes of a process the runtime sets. Numbers of linux/prctl.h."""

from __future__ import annotations

import ctypes

from kedge.lib.blocks import contextmanager
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Final


PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37
PR_SET_NO_NEW_PRIVS: Final = 38

_prctl = LIBC.prctl
_prctl.argtypes = (
    ctypes.c_int,
    ctypes.c_ulong,
    ctypes.c_ulong,
    ctypes.c_ulong,
    ctypes.c_ulong,
)


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """Call ``prctl(2)`` with integers and return its result."""
    return int(check(_prctl(option, arg2, arg3, 0, 0)))


def set_parent_death_signal(signum: int) -> None:
    """Have ``signum`` sent when the parent dies; any later change of credentials clears it."""
    prctl(PR_SET_PDEATHSIG, int(signum))


def set_dumpable(*, enabled: bool) -> None:
    """Allow or refuse core dumps, ptrace and /proc/PID access by others, until ``execve``."""
    prctl(_PR_SET_DUMPABLE, int(enabled))


def set_keep_capabilities(*, enabled: bool) -> None:
    """Keep the permitted set when all user ids become non-zero, until ``execve``."""
    prctl(PR_SET_KEEPCAPS, int(enabled))


def set_child_subreaper(*, enabled: bool = True) -> None:
    """Become the parent of orphaned descendants; the kernel refuses nobody this."""
    # Not by `prctl`: a process that does this and then waits for years pays for each function.
    _prctl(_PR_SET_CHILD_SUBREAPER, enabled, 0, 0, 0)


@contextmanager
def adopting_orphans() -> Generator[None]:
    """Be the parent of orphaned descendants inside the block, and after it only if so before."""
    found = ctypes.c_int()
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(found))
    if found.value:
        yield
        return
    set_child_subreaper()
    try:
        yield
    finally:
        set_child_subreaper(enabled=False)


def set_no_new_privileges() -> None:
    """Forbid gaining privileges by ``execve``, for ever."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """Set the thread's name, of which the kernel keeps 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15], 16)
    prctl(_PR_SET_NAME, ctypes.addressof(buffer))
