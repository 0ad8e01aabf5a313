"""Namespaces: ``unshare(2)`` and ``setns(2)``. Flags are those of include/uapi/linux/sched.h."""

from __future__ import annotations

import ctypes

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from typing import Final


CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_unshare = LIBC.unshare
_unshare.argtypes = (ctypes.c_int,)
_setns = LIBC.setns
_setns.argtypes = (ctypes.c_int, ctypes.c_int)
_setdomainname = LIBC.setdomainname
_setdomainname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """Move this thread into new namespaces; for ``CLONE_NEWPID`` only children to come."""
    check(_unshare(flags))


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace ``fd``, or the ``flags`` namespaces of the process of a pidfd (5.8)."""
    check(_setns(fd, flags))


def set_domainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace."""
    encoded = name.encode()
    check(_setdomainname(encoded, len(encoded)), name)
