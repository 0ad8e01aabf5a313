"""Waiting in the foreground: passing signals on and turning a wait status into an exit code.

Signals are read from a descriptor, between other things to wait for, and never interrupt anything.
"""

from __future__ import annotations

import os
import select

from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import process
from kedge.linux.signals import (
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
    SIGWINCH,
    open_signals,
    read_signal,
)

if TYPE_CHECKING:
    from typing import Final

# What a caller sends to stop or steer a foreground container.
_FORWARDED: Final = (SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT)


class Foreground:
    """A container's process this one waits for, and the signals that are meant for it."""

    __slots__ = ("_pid", "_pidfd", "signals")

    def __init__(self, pid: int, pidfd: int) -> None:
        """Hold signals back from now on; `take_signal` or `wait` passes them on."""
        self._pid = pid
        self._pidfd = pidfd
        self.signals = open_signals((*_FORWARDED, SIGWINCH))

    def take_signal(self) -> int:
        """Read a signal from ``signals``, pass it on if it is for the container, and return it."""
        signum = read_signal(self.signals)
        if signum != SIGWINCH:
            with suppress(ProcessLookupError):
                process.send_signal(self._pidfd, signum)
        return signum

    def wait(self) -> int:
        """Return the exit code of the process, 128 and the signal's number if it was killed."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(self.signals, select.POLLIN)
        while all(fd != self._pidfd for fd, _events in poll.poll()):
            self.take_signal()
        os.close(self.signals)
        return wait_for(self._pid)


def wait_for(pid: int) -> int:
    """Return the exit code of the child ``pid``, 128 and the signal's number if it was killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code
