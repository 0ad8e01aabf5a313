"""Forking a child of which the parent is sure: signals held back, a pidfd, no zombie left."""

from __future__ import annotations

import os
import sys

from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import process
from kedge.linux.signals import SIGKILL
from kedge.runtime.failures import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from kedge.runtime.channel import Channel


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
        with suppress(ProcessLookupError):
            process.send_signal(self.pidfd, SIGKILL)
        self._reap()
        os.close(self.pidfd)

    def _reap(self) -> None:
        # With SIGCHLD ignored the kernel reaps, and waiting only ends when it has.
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _NoImports:
    """Finds no module, and says so."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None, /) -> None:
        """Refuse."""
        raise ImportError(f"{name} is not loaded, and what is found now is the container's")


def load_for_children(*modules: str) -> None:
    """Import what few need here, before the fork: after it, it is too late (`fork_child`)."""
    for module in modules:
        __import__(module)


def fork_child(run: Callable[[], NoReturn]) -> Child:
    """Fork, call ``run`` in the child, and return the child to the parent.

    Signals stay blocked in the child until it resets them, so that no handler of the caller's
    ever runs there. And the child can import nothing: it will look at files as the container's
    user and in the container's root, where a module would be whatever the image says it is. Its
    parent loads what it needs.
    """
    previous = process.block_signals()
    try:
        pid = os.fork()  # noqa: TID251 - the runtime's own fork
        if pid == 0:
            try:
                sys.meta_path[:] = [_NoImports]
                run()
            finally:
                os._exit(1)
    finally:
        process.restore_signal_mask(previous)
    return Child(pid, os.pidfd_open(pid))


def run_reporting(line: Channel, doing: str, action: Callable[[], None]) -> NoReturn:
    """Run ``action``, which ends in `execve`; send whatever stops it over ``line`` and exit.

    Nothing may escape: the frames above are a copy of the caller's.
    """
    try:
        action()
    except KedgeError as error:
        line.send_failure(error)
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        line.send_failure(refusal(f"cannot {doing}{name}", error))
    except BaseException as error:  # noqa: BLE001 - see above
        line.send_failure(SystemFailureError(f"cannot {doing}: {error!r}"))
    os._exit(1)
