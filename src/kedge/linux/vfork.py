"""A child that shares its parent's memory and does nothing but a list of system calls.

Forking an interpreter copies its page tables, then each page either side touches, and ``execve``
throws all of it away: six milliseconds for a shim. A ``vfork`` child has nothing to copy, but must
not run Python: interpreter and C library would be changed under the parent, who sleeps meanwhile.
So the parent writes down the calls and their arguments beforehand, and a loop of 144 bytes of
machine code makes them; nothing of the parent's is written but two words that say what failed.

What the child must never do is return or take a signal in a handler of the parent's: the caller
blocks signals, and the list gives them their default actions before it lets them in.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache

from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux.libc import LIBC, check, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, TypeAlias


# f:       push r12; mov r12, rdi; clone([r12], 0, r12 + 16, 0, 0); in the parent: pop r12; ret
# child:   mov rbx, [r12 + 8]
# next:    load number and six arguments from [rbx]; check 3: compare memory; else syscall;
#          check 0: go on, 2: equal to [rbx + 64], 1: not negative
# advance: add rbx, 72; jmp next
# fail:    [r12 + 32] = rax; [r12 + 24] = rbx; exit_group(127)
_LOOP: Final = {
    "x86_64": bytes.fromhex(
        "41544989fc498b3c2431f6498d5424104531d24531c0b8380000000f054885c07403415cc3"
        "498b5c2408488b03488b7b08488b7310488b53184c8b53204c8b43284c8b4b308b4b3883f9037435"
        "0f058b4b3885c9740a83f902740b4885c0780c4883c348ebc4483b434074f4"
        "4989442420"
        "49895c2418b8e7000000bf7f0000000f05488b074821f0483b434074d2ebdc"
    ),
}
_FLAGS: Final = 0x100 | 0x4000 | 0x1000 | 17  # CLONE_VM, CLONE_VFORK, CLONE_PIDFD, SIGCHLD
_ENTRY: Final = struct.Struct("=9Q")
_HEAD: Final = struct.Struct("=5Q")
_NO_PIDFD: Final = 0xFFFFFFFF
_WORD: Final = (1 << 64) - 1
_PAGE: Final = 4096
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE_ANONYMOUS: Final = 0x22

_mmap = LIBC.mmap
_mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
)
_mmap.restype = ctypes.c_void_p
_mprotect = LIBC.mprotect
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_FUNCTION: Final = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
_IGNORE, _MUST, _EQUAL, _MEMORY = range(4)

Value: TypeAlias = int | bytes
"""An argument of a call; bytes are passed by their address, and end with a zero byte."""


class Syscalls:
    """Numbers of the calls a script may need; x86_64, like the machine code."""

    write = 1
    close = 3
    fstat = 5
    rt_sigaction = 13
    rt_sigprocmask = 14
    execve = 59
    getcwd = 79
    chdir = 80
    fchown = 93
    umask = 95
    setsid = 112
    setgroups = 116
    setresuid = 117
    setresgid = 119
    capset = 126
    prctl = 157
    keyctl = 250
    openat = 257
    dup3 = 292
    setns = 308
    seccomp = 317
    close_range = 436


class Failed(NamedTuple):
    """The call that did not do what was asked of it."""

    number: int
    """Its place in the list, from 0 on."""
    result: int
    """Negative for an errno."""


class Started(NamedTuple):
    """A child whose list has ended in another program."""

    pid: int
    pidfd: int


class Script:
    """The calls of one child, in order; buffers live as long as it does."""

    __slots__ = ("entries", "kept")

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        """As the machine code reads them."""
        self.kept: list[object] = []

    def call(self, number: int, *arguments: Value) -> None:
        """Make a call that must not fail."""
        self._add(_MUST, 0, number, arguments)

    def attempt(self, number: int, *arguments: Value) -> None:
        """Make a call that may fail."""
        self._add(_IGNORE, 0, number, arguments)

    def expect(self, result: int, number: int, *arguments: Value) -> None:
        """Make a call that must return ``result``."""
        self._add(_EQUAL, result, number, arguments)

    def compare(self, address: int, mask: int, value: int) -> None:
        """Go on if the eight bytes at ``address``, masked, are ``value``."""
        self._add(_MEMORY, value, 0, (address, mask))

    def include(self, other: Script) -> None:
        """Make all calls of ``other``, too."""
        self.entries.extend(other.entries)
        self.kept.append(other)

    def fail(self) -> None:
        """End the child: what came before should have made it another program."""
        self.compare(self.buffer(8), 0, 1)

    def keep(self, data: bytes) -> int:
        """Return the address of a copy of ``data``."""
        return self._word(data)

    def buffer(self, size: int) -> int:
        """Return the address of ``size`` zero bytes the child may write to."""
        made = ctypes.create_string_buffer(size)
        self.kept.append(made)
        return ctypes.addressof(made)

    def strings(self, texts: Sequence[bytes]) -> int:
        """Return the address of a list of strings, as ``execve`` takes them."""
        made = (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
        self.kept.append(made)
        return ctypes.addressof(made)

    def _add(self, kind: int, value: int, number: int, arguments: Sequence[Value]) -> None:
        words = [self._word(argument) for argument in arguments]
        words += [0] * (6 - len(words))
        self.entries.append(_ENTRY.pack(number, *words, kind, value & _WORD))

    def _word(self, argument: Value) -> int:
        if isinstance(argument, int):
            return argument & _WORD
        made = ctypes.create_string_buffer(argument)
        self.kept.append(made)
        return ctypes.addressof(made)

    def run(self) -> Started | Failed:
        """Make a child do it; return when it has become another program, or has failed and ended.

        Every signal must be blocked.

        Raises:
            OSError: The kernel makes no child, or no machine code may be run.
        """
        entries = ctypes.create_string_buffer(b"".join(self.entries))
        head = ctypes.create_string_buffer(_HEAD.size)
        first = ctypes.addressof(entries)
        _HEAD.pack_into(head, 0, _FLAGS, first, _NO_PIDFD, 0, 0)
        pid = _loop()(ctypes.addressof(head))
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        pidfd, failed, result = struct.unpack_from("=i4xQq", head, 16)
        if pidfd < 0:  # before Linux 5.2
            pidfd = os.pidfd_open(pid)
        if not failed:
            return Started(pid, pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)
        return Failed((failed - first) // _ENTRY.size, result)


def is_supported() -> bool:
    """Tell whether there is machine code for this machine and it may be run."""
    try:
        _loop()
    except OSError:
        return False
    return True


@cache
def _loop() -> Callable[[int], int]:
    """Return the machine code as a function, in memory that can be run and no longer be written."""
    code = _LOOP.get(os.uname().machine)
    if code is None:
        raise OSError(errno.ENOSYS, "no machine code for this machine")
    address = _mmap(None, _PAGE, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if address in (None, _WORD):
        raise failure("mmap")
    ctypes.memmove(address, code, len(code))
    check(_mprotect(address, _PAGE, _PROT_READ | _PROT_EXEC), "mprotect")
    return _FUNCTION(address)
