"""How a running container is brought to its end: the note, the wait, the kill.

What is announced and recorded when the end has come is `kedge.engine.lifecycle`'s.
"""

import asyncio
import contextlib
import signal
from typing import Final

from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.faststop import LABEL as FAST_STOP_LABEL
from kedge.engine.faststop import may_stop_fast, stays_thrown_away
from kedge.engine.restartpolicy import Policy, policy_of
from kedge.engine.state import Status
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.shim.client import Shim

KILL_GRACE_S: Final = 10.0
"""How long a killed process may take; the kernel keeps some until their I/O is done."""


async def wait_for_end(
    context: EngineContext,
    container: Container,
    number: int,
    exited: "asyncio.Future[int]",
    timeout_s: int,
) -> str:
    """Wait for the end that a signal asked for; return why to wait no longer, if so."""
    settings, record = context.settings, container.record
    # compat: Docker sits the grace period out, whether the signal can arrive or not.
    fast = timeout_s > 0 and may_stop_fast(
        record, number, enabled=settings.fast_stop, init=settings.init
    )
    try:
        async with asyncio.timeout(timeout_s if timeout_s >= 0 else None):
            if fast and await _ends_or_cannot_hear(record.pid, number, exited):
                return (
                    f"signal {number} was discarded by the kernel: process 1 has no handler "
                    f"for it; label {FAST_STOP_LABEL}=false waits"
                )
            await exited
    except TimeoutError:
        return f"still running {timeout_s} s after signal {number}"
    return ""


async def force_end(context: EngineContext, container: Container, shim: Shim, reason: str) -> None:
    """End every process of a container that has not ended by itself, and say why in the event."""
    exited = asyncio.shield(container.exited)
    if not container.record.alive:
        return
    with contextlib.suppress(KedgeError):
        await shim.kill(signal.SIGKILL, all=True)
        announce(context, container, "kill", {"signal": "9", "reason": reason})
    async with asyncio.timeout(KILL_GRACE_S):
        await exited


async def kill_for_removal(context: EngineContext, container: Container) -> None:
    """End a container that is to be removed; no policy starts it again."""
    record, shim = container.record, container.shim
    if shim is None:
        return
    # Force wins over --rm: the watcher must not remove it a second time.
    container.outlives_exit = True
    record.stopped_by_user = True
    exited = asyncio.shield(container.exited)
    with contextlib.suppress(KedgeError):
        if record.status is Status.PAUSED:
            await shim.resume()
    with contextlib.suppress(KedgeError):
        await shim.kill(signal.SIGKILL)
        announce(context, container, "kill", {"signal": "9"})
    async with asyncio.timeout(KILL_GRACE_S):
        await exited


async def _ends_or_cannot_hear(pid: int, number: int, exited: "asyncio.Future[int]") -> bool:
    """Return once the end has come, or it is known whether the signal can have been heard."""
    looking = asyncio.ensure_future(stays_thrown_away(pid, number))
    both: list[asyncio.Future[int] | asyncio.Future[bool]] = [looking, exited]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return not exited.done() and looking.result()
    finally:
        looking.cancel()


def note_stop(container: Container) -> None:
    """Take down that somebody wants it down, before it is: the engine may end in between."""
    container.record.stopped_by_user = True
    if policy_of(container.record.host_config) is not Policy.NO:
        # What fills the disk can be stopped all the same.
        with contextlib.suppress(SystemFailureError):
            container.save(durable=True)
