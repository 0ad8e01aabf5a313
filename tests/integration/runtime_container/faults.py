"""Failing one system call of a process and of all that it forks, from outside.

The process loads a seccomp filter that asks a supervisor, which is this one, about every call that
changes something; the supervisor lets all of them pass but the one it was told to fail. So the
program under test is as it is, and so is every call but one.
"""

import ctypes  # noqa: TID251 - the product takes no descriptor of another process
import errno
import fcntl
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from kedge.linux.libc import LIBC, check
from kedge.linux.seccomp import FILTER_FLAG_NEW_LISTENER, set_filter
from kedge.runtime.seccomp.architectures import syscall_numbers

_CHANGING: Final = (
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "unshare",
    "setns",
    "execve",
    "write",
    "pwrite64",
    "sendmsg",
    "sendto",
    "socket",
    "socketpair",
    "bind",
    "listen",
    "connect",
    "accept4",
    "mkdir",
    "mkdirat",
    "mknodat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "openat2",
    "pidfd_open",
    "pidfd_send_signal",
    "kill",
    "capset",
    "setgroups",
    "setresuid",
    "setresgid",
    "fchown",
    "fchownat",
    "chmod",
    "fchmod",
    "fchmodat",
    "seccomp",
    "keyctl",
    "chdir",
    "fchdir",
    "setsid",
    "memfd_create",
    "sethostname",
    "setdomainname",
    "prlimit64",
    "setrlimit",
    "bpf",
)
_HANDED_OVER: Final = 700
_PIDFD_GETFD: Final = 438
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_CONTINUE: Final = 1
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_PATIENCE_S: Final = 60.0
_O_CREAT_OR_WRITE: Final = os.O_CREAT | os.O_WRONLY | os.O_RDWR

_NAMES: Final = {number: name for name, number in syscall_numbers("x86_64").items()}


class Outcome(NamedTuple):
    """How it ended, and which call was failed; None when there were fewer calls."""

    code: int
    failed: str | None


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _filter() -> bytes:
    """Return the program: ask about the changing calls, and about opening files to write."""
    load, equal, masked, answer = 0x20, 0x15, 0x45, 0x06
    ask, allow = 0x7FC00000, 0x7FFF0000
    numbers = [syscall_numbers("x86_64")[name] for name in _CHANGING]
    lines = [_instruction(load, 0, 0, 0)]
    for position, number in enumerate(numbers):
        lines.append(_instruction(equal, len(numbers) - position + 3, 0, number))
    lines += [
        _instruction(equal, 0, 2, syscall_numbers("x86_64")["openat"]),
        _instruction(load, 0, 0, 32),
        _instruction(masked, 1, 0, _O_CREAT_OR_WRITE),
        _instruction(answer, 0, 0, allow),
        _instruction(answer, 0, 0, ask),
    ]
    return b"".join(lines)


def run_failing(action: Callable[[], int], position: int, error: int = errno.EIO) -> Outcome:
    """Run ``action`` in a child and have its changing call number ``position`` fail."""
    taken, tell = os.pipe()
    pid = os.fork()  # noqa: TID251 - what is tested forks, too
    if pid == 0:
        code = 121
        try:
            os.close(tell)
            listener = set_filter(_filter(), FILTER_FLAG_NEW_LISTENER)
            os.dup2(listener, _HANDED_OVER, inheritable=False)
            os.close(listener)
            # Only the supervisor may have it, or calls would wait for ever once that is gone.
            os.read(taken, 1)
            os.close(_HANDED_OVER)
            os.close(taken)
            code = action()
        finally:
            os._exit(code)
    os.close(taken)
    pidfd = os.pidfd_open(pid)
    listener = _take_listener(pidfd)
    os.close(tell)
    try:
        failed = _supervise(listener, pidfd, position, error)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        raise
    finally:
        os.close(listener)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(pidfd)
    return Outcome(code, failed)


def _take_listener(pidfd: int) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return check(
                LIBC.syscall(
                    ctypes.c_long(_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(_HANDED_OVER), 0
                )
            )
        except OSError:
            assert time.monotonic() < deadline, "the child loads no filter"


def _supervise(listener: int, pidfd: int, position: int, error: int) -> str | None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    seen, failed = 0, None
    while True:
        ready = dict(poll.poll(_PATIENCE_S * 1000))
        assert ready, f"it hangs after {failed} failed"
        if pidfd in ready or ready.get(listener, 0) & select.POLLHUP:
            return failed
        notification = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notification)
        except FileNotFoundError:
            continue  # who asked is dead
        identity, _pid, _flags, number, *_ = _NOTIFICATION.unpack(notification)
        answer = _ANSWER.pack(identity, 0, 0, _CONTINUE)
        if seen == position:
            failed = _NAMES[number]
            answer = _ANSWER.pack(identity, 0, -error, 0)
        seen += 1
        try:
            fcntl.ioctl(listener, _SEND, answer)
        except FileNotFoundError:
            continue
