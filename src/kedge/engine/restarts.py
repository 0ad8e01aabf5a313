"""Starts containers again by their policies: after an exit, and when the engine comes back.

    exit ─ plan: restarting, count, delay ─ record ─ timer ─ start ─┬─ runs
                                                                    ├─ the host failed: plan anew
                                                                    └─ cannot start: exited

The plan is on record before the wait begins, so another engine waits for what is left of it. A
timer acts under the container's lock and only on one that is still `restarting`; whoever stops or
removes it meanwhile changes the status under the same lock, and no start can come after that.

When the engine comes back, everything that is to run is `restarting` first, also what ended with
the machine. Then each container has its turn: it waits for those it needs (their turn, then a
limited time for their condition, see `kedge.engine.startorder`), and starts.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kedge.engine.containers import Container, ContainerIndex
from kedge.engine.restartpolicy import (
    Exit,
    comes_back_with_engine,
    next_delay_ms,
    wants_restart,
)
from kedge.engine.startorder import Need, Verdict, judge, patience_s, plan_order, waiting_text
from kedge.engine.state import Status
from kedge.errdefs import ConflictError, KedgeError, SystemFailureError, UnavailableError
from kedge.lib.clock import Clock
from kedge.lib.ids import short_id

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
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Have no timers.

        Args:
            containers: All of them.
            clock: Measures the waits.
            start: Starts a container whose lock is held, or raises after taking everything back.
            sleep: Waits for seconds.
            warn: Takes a line for the administrator.
        """
        self._containers = containers
        self._clock = clock
        self._start = start
        self._sleep = sleep
        self._warn = warn
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, asyncio.Event] = {}
        self._on_hold = False
        self._gathering = False

    def gather(self) -> None:
        """Only note what is to start, until `resume` starts it in order."""
        self._gathering = True

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
        if self._on_hold or self._gathering:
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

        Everybody waits for whom it needs, and for what is left of a wait that another engine began.
        """
        coming: list[Container] = []
        for container in self._containers:
            waits = container.record.status is Status.RESTARTING
            if (waits and container.id not in self._timers) or await self._bring_back(container):
                coming.append(container)
        self._gathering = False
        if self._on_hold:
            return
        order = plan_order(
            [container.record for container in self._containers], {item.id for item in coming}
        )
        for warning in order.warnings:
            self._warn(warning)
        self._turns = {container.id: asyncio.Event() for container in coming}
        loop = asyncio.get_running_loop()
        for container in coming:
            needs = order.needs.get(container.id, [])
            self._timers[container.id] = loop.create_task(self._take_turn(container, needs))
        started = [self._timers[container.id] for container in coming]
        await asyncio.gather(*started, return_exceptions=True)

    async def _bring_back(self, container: Container) -> bool:
        """Plan the start of a container that comes back with the engine."""
        record = container.record
        async with container.lock:
            if not comes_back_with_engine(record):
                return False
            record.restart_count, record.backoff_ms, record.restart_at_ns = 0, 0, 0
            try:
                container.become(Status.RESTARTING)
            except (ConflictError, SystemFailureError):
                # Without room for the plan it is in memory alone.
                record.status = Status.RESTARTING
        return True

    async def _take_turn(self, container: Container, needs: Sequence[Need]) -> None:
        try:
            for need in needs:
                if need.id in self._turns:
                    await self._turns[need.id].wait()
                await self._await_need(container, need)
            await self._wait_and_start(container)
        finally:
            self._turns[container.id].set()

    async def _await_need(self, container: Container, need: Need) -> None:
        """Wait until a need is met, cannot be met any more, or has taken too long."""
        target = self._containers.find(need.id)
        name = waiting_text(need, target.name if target else short_id(need.id))
        limit_s = patience_s(need, target.record) if target else 0
        patience = asyncio.ensure_future(self._sleep(limit_s))
        container.record.error = f"waiting for {name}"
        try:
            while (verdict := self._judge(need)) is Verdict.WAIT and not patience.done():
                # Nothing is awaited between the look and this, so no change is missed.
                changed = self._containers.changes.next()
                await asyncio.wait([changed, patience], return_when=asyncio.FIRST_COMPLETED)
        finally:
            patience.cancel()
            container.record.error = ""
        if verdict is not Verdict.MET:
            why = "is down" if verdict is Verdict.NEVER else f"not within {limit_s:.0f} s"
            self._warn(f"container {container.name} waited for {name}: {why}: it is started anyway")

    def _judge(self, need: Need) -> Verdict:
        target = self._containers.find(need.id)
        return judge(need, target.record if target else None)

    async def close(self) -> None:
        """Drop the timers; the records keep the plans."""
        self.hold()
        timers, self._timers = list(self._timers.values()), {}
        for task in timers:
            task.cancel()
        await asyncio.gather(*timers, return_exceptions=True)
