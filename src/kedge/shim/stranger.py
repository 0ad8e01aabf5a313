"""A container whose shim speaks another version's protocol: seen to its end, and ended. asyncio.

Nothing is asked of such a shim. Its container is watched and signalled as the kernel's process, by
a descriptor that never means another one, and its exit is read from the file every shim leaves.
"""

import asyncio
import contextlib
import os
import signal
from typing import Final

from kedge.errdefs import ConflictError, UnavailableError
from kedge.lib.jsontypes import JsonObject
from kedge.runtime.cgroups import make_cgroup
from kedge.shim.exits import load_exit
from kedge.shim.messages import ExitStatus, flag, integer
from kedge.shim.orphans import killed_with_shim

# The shim writes the status once the output has ended, which it waits two seconds for at most.
_FILE_POLL_S: Final = 0.05
_FILE_ROUNDS: Final = 100


class Stranger:
    """What can be done without a common language."""

    def __init__(self, refusal: str, *, run_dir: str, cgroup: str, shim_pid: int, pid: int) -> None:
        """Hold on to the processes, as far as they live.

        Args:
            refusal: What is said to all other requests.
            run_dir: The container's run directory.
            cgroup: Its cgroup.
            shim_pid: The shim's process id.
            pid: The container's first process, 0 for none any more.
        """
        self.refusal = refusal
        self._run_dir = run_dir
        self._cgroup = cgroup
        self._shim = _try_open(shim_pid)
        self._init = _try_open(pid)

    async def call(self, operation: str, args: JsonObject) -> JsonObject:
        """Do what an operation of the protocol asks for.

        Raises:
            ConflictError: It takes the protocol, or the container runs and should not.
            UnavailableError: The shim has been dismissed, and has cleaned nothing up.
        """
        if operation == "kill":
            self._kill(integer(args, "signal"), everybody=flag(args, "all"))
            return {}
        if operation != "shutdown":
            raise ConflictError(self.refusal)
        if not _has_ended(self._init):
            raise ConflictError(f"{self.refusal}: it runs")
        _signal(self._shim, signal.SIGKILL)
        await _wait(self._shim)
        raise UnavailableError("the shim was dismissed")

    def _kill(self, signum: int, *, everybody: bool) -> None:
        if _has_ended(self._init):
            raise ConflictError(f"container {os.path.basename(self._run_dir)} is not running")
        if everybody and signum == signal.SIGKILL:
            make_cgroup(self._cgroup).kill()
        _signal(self._init, signum)

    async def wait(self) -> ExitStatus:
        """Return how the container ended."""
        await _wait(self._init)
        for _ in range(_FILE_ROUNDS):
            if _has_ended(self._shim):
                break
            if (status := load_exit(self._run_dir)) is not None:
                return status
            await asyncio.sleep(_FILE_POLL_S)
        return load_exit(self._run_dir) or killed_with_shim()

    def close(self) -> None:
        """Let go of the processes."""
        for fd in (self._shim, self._init):
            if fd >= 0:
                os.close(fd)
        self._shim = self._init = -1


def _try_open(pid: int) -> int:
    """Return a descriptor of a process, or -1 when there is none."""
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            return os.pidfd_open(pid)
    return -1


def _has_ended(pidfd: int) -> bool:
    if pidfd < 0:
        return True
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    return False


def _signal(pidfd: int, signum: int) -> None:
    if pidfd >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signum)


async def _wait(pidfd: int) -> None:
    """Return when a process has ended."""
    if pidfd < 0:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    # A copy, so that closing the original takes nothing from under the loop.
    watched = os.dup(pidfd)
    loop.add_reader(watched, _resolve, ended)
    try:
        await ended
    finally:
        loop.remove_reader(watched)
        os.close(watched)


def _resolve(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)
