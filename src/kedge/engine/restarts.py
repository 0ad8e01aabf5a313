"""Starts containers again by their policies: after an exit, and when the engine comes back.

    exit ─ plan: restarting, count, delay ─ record ─ timer ─ start ─┬─ runs
                                                                    ├─ the host failed: plan anew
                                                                    └─ cannot start: exited

The plan is on record before the wait begins, so another engine waits for what is left of it. A
timer acts under the container's lock and only on one that is still `restarting`; whoever stops or
removes it meanwhile changes the status under the same lock, and no start can come after that.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from kedge.engine.containers import Container, ContainerIndex
from kedge.engine.restartpolicy import (
    Exit,
    comes_back_with_engine,
    next_delay_ms,
    start_order,
    wants_restart,
)
from kedge.engine.state import Status
from kedge.errdefs import ConflictError, KedgeError, SystemFailureError, UnavailableError
from kedge.lib.clock import Clock

_MS: Final = 1_000_000

StartAgain = Callable[[Container], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]


class Restarts:
    """The timers of one engine; it decides nothing that `kedge.engine.restartpolicy` can."""

    def __init__(
        self,
        containers: ContainerIndex,
        start: StartAgain,
        *,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Have no timers.

        Args:
            containers: All of them.
            clock: Measures the waits.
            start: Starts a container whose lock is held, or raises after taking everything back.
            sleep: Waits for seconds.
        """
        self._containers = containers
        self._clock = clock
        self._start = start
        self._sleep = sleep
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._on_hold = False

    def hold(self) -> None:
        """Start nothing any more: the engine ends, and the next one goes on from the records."""
        self._on_hold = True

    def plan(self, container: Container) -> bool:
        """Note in the record of a container that has ended when it is started again, if at all.

        The caller saves the record with the status this asks for, and then calls `schedule`.
        """
        record = container.record
        ran_ns = max(0, record.finished_ns - record.started_ns)
        end = Exit(record.exit_code, ran_ns, record.stopped_by_user)
        policy = record.host_config.restart_policy
        if self._on_hold or not wants_restart(policy, end, restart_count=record.restart_count):
            return False
        record.restart_count += 1
        self._postpone(container, ran_ns)
        return True

    def _postpone(self, container: Container, ran_ns: int) -> None:
        record = container.record
        record.backoff_ms = next_delay_ms(record.backoff_ms, ran_ns=ran_ns)
        record.restart_at_ns = self._clock.time_ns() + record.backoff_ms * _MS

    def schedule(self, container: Container) -> None:
        """Start ``container``, which is `restarting`, when its time has come."""
        if self._on_hold:
            return
        self._forget(container)
        task = asyncio.get_running_loop().create_task(self._wait_and_start(container))
        self._timers[container.id] = task

    async def cancel(self, container: Container) -> bool:
        """Let a container that waits for its restart stay down; the caller holds its lock.

        Returns:
            Whether it waited.
        """
        record = container.record
        if record.status is not Status.RESTARTING:
            return False
        self._forget(container)
        record.stopped_by_user = True
        record.restart_at_ns = 0
        container.become(Status.EXITED, durable=True)
        container.announce_exit()
        return True

    def _forget(self, container: Container) -> None:
        task = self._timers.pop(container.id, None)
        # A timer that goes on from a failed start sets up its successor itself.
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _wait_and_start(self, container: Container) -> None:
        record = container.record
        left_ns = record.restart_at_ns - self._clock.time_ns()
        # The clock may have been set back; nobody waits longer than was planned.
        await self._sleep(min(max(left_ns, 0), record.backoff_ms * _MS) / 1e9)
        await self._try_start(container)

    async def _try_start(self, container: Container) -> None:
        async with container.lock:
            record = container.record
            if record.status is not Status.RESTARTING or self._on_hold:
                return
            try:
                await self._start(container)
            except (SystemFailureError, UnavailableError):
                # The host's fault, such as a full disk: it may pass, and nobody is here to retry.
                self._postpone(container, 0)
                with contextlib.suppress(SystemFailureError):
                    container.save()
                self.schedule(container)
            except KedgeError:
                self._give_up(container)

    def _give_up(self, container: Container) -> None:
        record = container.record
        record.finished_ns = self._clock.time_ns()
        record.restart_at_ns = 0
        try:
            container.become(Status.EXITED)
        except SystemFailureError:
            record.status = Status.EXITED
        container.announce_exit()

    async def resume(self) -> None:
        """Do what the policies ask for when an engine starts; return when all was tried once.

        Waits that another engine began go on. Everything else starts in the order of
        `start_order`, those of one wave at once.
        """
        chosen: list[Container] = []
        for container in self._containers:
            if container.record.status is Status.RESTARTING:
                if container.id not in self._timers:
                    self.schedule(container)
            elif comes_back_with_engine(container.record):
                chosen.append(container)
        for wave in start_order([container.record for container in chosen]):
            ids = {record.id for record in wave}
            await asyncio.gather(*(self._bring_back(item) for item in chosen if item.id in ids))

    async def _bring_back(self, container: Container) -> None:
        record = container.record
        async with container.lock:
            if not comes_back_with_engine(record):
                return
            record.restart_count, record.backoff_ms, record.restart_at_ns = 0, 0, 0
            try:
                container.become(Status.RESTARTING)
            except (ConflictError, SystemFailureError):
                # Without room for the plan it is in memory alone.
                record.status = Status.RESTARTING
        await self._try_start(container)

    async def close(self) -> None:
        """Drop the timers; the records keep the plans."""
        self.hold()
        timers, self._timers = list(self._timers.values()), {}
        for task in timers:
            task.cancel()
        await asyncio.gather(*timers, return_exceptions=True)
