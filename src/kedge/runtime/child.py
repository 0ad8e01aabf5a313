"""Forking a child of which the parent is sure: signals held back, a pidfd, no zombie left."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from kedge.linux import process


class Child:
    """A forked process by pid and pidfd; both are -1 before the fork."""

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int, pidfd: int) -> None:
        """Take over ``pidfd``."""
        self.pid = pid
        self.pidfd = pidfd

    def replace(self, pid: int) -> None:
        """Go on with the grandchild ``pid``, now that the child in between has ended."""
        self._reap()
        os.close(self.pidfd)
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def destroy(self) -> None:
        """Kill and reap the process, if there is one, and close the pidfd."""
        if self.pid < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.pidfd, signal.SIGKILL)
        self._reap()
        os.close(self.pidfd)

    def _reap(self) -> None:
        # With SIGCHLD ignored the kernel reaps, and waiting only ends when it has.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def fork_child(run: Callable[[], NoReturn]) -> Child:
    """Fork, call ``run`` in the child, and return the child to the parent.

    Signals stay blocked in the child until it resets them, so that no handler of the caller's
    ever runs there.
    """
    previous = process.block_signals()
    try:
        pid = os.fork()  # noqa: TID251 - the runtime's own fork
        if pid == 0:
            try:
                run()
            finally:
                os._exit(1)
    finally:
        process.restore_signal_mask(previous)
    return Child(pid, os.pidfd_open(pid))
