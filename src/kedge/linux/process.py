"""Processes: pidfds, exec with raw strings, descriptors, signals and keyrings.

What `os`, `signal` and `resource` already have is not repeated here.
"""

from __future__ import annotations

import ctypes
import errno
import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check
from kedge.linux.signals import COUNT, reset_reserved_signals

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Final


CLOSE_RANGE_CLOEXEC: Final = 4
_MAX_FD: Final = 0xFFFFFFFF

_SYS_PIDFD_SEND_SIGNAL: Final = ctypes.c_long(424)
_SYS_CLOSE_RANGE: Final = ctypes.c_long(436)
_KEYCTL: Final = ctypes.c_long({"x86_64": 250}.get(os.uname().machine, 219))
_KEYCTL_JOIN_SESSION_KEYRING: Final = ctypes.c_int(1)
_KEYCTL_SETPERM: Final = ctypes.c_int(5)
# What the kernel gives a named session keyring (all to who possesses it; view, read and link to its
# user), and search to its user.
_SEARCHABLE_SESSION: Final = ctypes.c_uint(0x3F1B0000)

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long
_execve = LIBC.execve
_setfsuid = LIBC.setfsuid
_setfsgid = LIBC.setfsgid
for _call in (_setfsuid, _setfsgid):
    _call.argtypes = (ctypes.c_uint,)
    _call.restype = ctypes.c_uint
_signal = LIBC.signal
_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_signal.restype = ctypes.c_void_p
_sigmask = LIBC.sigprocmask
_sigmask.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
_SIG_SETMASK: Final = 2
_SIGSET_SIZE: Final = 128


def send_signal(pidfd: int, signum: int) -> None:
    """Send ``signum`` to the process behind ``pidfd``, never to another that reused its pid."""
    check(
        int(
            _syscall(
                _SYS_PIDFD_SEND_SIGNAL,
                ctypes.c_int(pidfd),
                ctypes.c_int(signum),
                None,
                ctypes.c_uint(0),
            )
        )
    )


def execve(path: str, arguments: Sequence[str], environment: Sequence[str]) -> None:
    """Replace this process by the program at ``path``; return only by raising `OSError`.

    Unlike `os.execve`, the environment is passed as it is, in its order.
    """
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*map(os.fsencode, arguments), None)
    envp = (ctypes.c_char_p * (len(environment) + 1))(*map(os.fsencode, environment), None)
    check(int(_execve(os.fsencode(path), argv, envp)), path)


def _close_range(first: int, last: int, flags: int) -> None:
    check(
        int(
            _syscall(
                _SYS_CLOSE_RANGE,
                ctypes.c_uint(first),
                ctypes.c_uint(last),
                ctypes.c_uint(flags),
            )
        )
    )


def _open_descriptors(first: int) -> list[int]:
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd >= first]


def close_from(first: int, *, keep: Collection[int] = ()) -> None:
    """Close every descriptor from ``first`` on, except those in ``keep``."""
    for fd in sorted(keep):
        if fd >= first:
            os.closerange(first, fd)
            first = fd + 1
    try:
        _close_range(first, _MAX_FD, 0)
    except OSError:  # before Linux 5.9
        for fd in _open_descriptors(first):
            os.closerange(fd, fd + 1)


def set_cloexec_from(first: int) -> None:
    """Mark every descriptor from ``first`` on to be closed by ``execve``."""
    try:
        _close_range(first, _MAX_FD, CLOSE_RANGE_CLOEXEC)
    except OSError:  # before Linux 5.11
        for fd in _open_descriptors(first):
            try:
                os.set_inheritable(fd, False)  # noqa: FBT003
            except OSError:
                continue  # the descriptor of the listing itself, closed by now


def reset_signals() -> None:
    """Give every signal its default action, reserved ones included, and unblock all of them.

    Through the C library, as the two functions below: those of `signal` build an enum member for
    every signal they mention, which took longer than the fork.
    """
    for signum in range(1, COUNT):
        _signal(signum, None)
    reset_reserved_signals()
    restore_signal_mask(bytes(_SIGSET_SIZE))


def block_signals() -> bytes:
    """Block every signal in this thread and return the mask of before."""
    previous = ctypes.create_string_buffer(_SIGSET_SIZE)
    check(_sigmask(_SIG_SETMASK, b"\xff" * _SIGSET_SIZE, previous))
    return previous.raw


def restore_signal_mask(mask: bytes) -> None:
    """Make ``mask``, as `block_signals` returned it, this thread's signal mask."""
    check(_sigmask(_SIG_SETMASK, mask, None))


def set_filesystem_ids(uid: int, gid: int) -> None:
    """Make files belong to ``uid`` and ``gid``; the process's other ids stay."""
    # These calls return the previous id and have no way to say that they failed.
    _setfsgid(gid)
    _setfsuid(uid)
    if _setfsuid(-1) != uid or _setfsgid(-1) != gid:
        raise PermissionError(errno.EPERM, f"cannot make files as {uid}:{gid}")


def join_session_keyring(name: str) -> int:
    """Join the session keyring called ``name``, or start one; return its serial number.

    One that is there is found by who may search it (see `let_user_search`), else a second one of
    that name is made.
    """
    return check(
        int(_syscall(_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name), None, None, None)),
        name,
    )


def let_user_search(keyring: int) -> None:
    """Let other processes of the user find and join a session keyring that this one has started."""
    serial = ctypes.c_int(keyring)
    check(
        int(_syscall(_KEYCTL, _KEYCTL_SETPERM, serial, _SEARCHABLE_SESSION, None, None)),
        f"keyring {keyring}",
    )
