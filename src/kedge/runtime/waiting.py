"""Waiting in the foreground: passing signals on and turning a wait status into an exit code."""

from __future__ import annotations

import contextlib
import os
import signal

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import process

if TYPE_CHECKING:
    from types import FrameType
    from typing import Final


# What a caller sends to stop or steer a foreground container.
_FORWARDED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)


def forward_signals(pidfd: int) -> None:
    """Pass the usual signals on to the process behind ``pidfd`` from now on."""

    def forward(signum: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(pidfd, signum)

    for signum in _FORWARDED:
        signal.signal(signum, forward)


def wait_for(pid: int) -> int:
    """Return the exit code of the child ``pid``, 128 and the signal's number if it was killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code
