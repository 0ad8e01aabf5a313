"""32-bit x86's two doors to the same room: ``socketcall``/``ipc``, and later calls of their own.

A rule about ``socket`` must hold for ``socketcall(SYS_SOCKET, ...)`` too. The real arguments are
then behind a pointer no filter can follow, so only the first one, which says what is called, is
looked at: conditions on it give way, as they do in libseccomp.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.runtime_spec_seccomp import SeccompArgument

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final


# include/uapi/linux/net.h and ipc.h
_SOCKET_CALLS: Final = (
    *("", "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername"),
    *("socketpair", "send", "recv", "sendto", "recvfrom", "shutdown", "setsockopt"),
    *("getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg"),
)
_IPC_CALLS: Final = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}


def multiplexed_call(
    name: str, arguments: Sequence[SeccompArgument]
) -> tuple[str, tuple[SeccompArgument, ...]] | None:
    """Return the multiplexer that also does ``name`` and the conditions to meet there, or None."""
    if name in _IPC_CALLS:
        door, number = "ipc", _IPC_CALLS[name]
    elif name in _SOCKET_CALLS and name:
        door, number = "socketcall", _SOCKET_CALLS.index(name)
    else:
        return None
    first = SeccompArgument(0, number, 0, "SCMP_CMP_EQ")
    return door, (first, *(argument for argument in arguments if argument.register != 0))
