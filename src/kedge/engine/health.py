"""Runs the health checks of running containers, each in a task of its own.

A task sleeps, probes, takes the result in and begins anew; the rules are in
`kedge.engine.healthrules`. A probe is an exec session like a client's, with the same events, except
that the shim kills it as soon as nobody listens to it any more: after its timeout, with a stop or
a pause, and when the engine dies. Whatever changes the health is written to the container's record,
not flushed to disk and not for a result that says what was known.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from kedge.api.types.exec import ExecCreateRequest, ExecStartRequest
from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.execs import ExecService
from kedge.engine.healthrules import (
    COULD_NOT_ASK,
    MAX_OUTPUT,
    HealthPlan,
    HealthRecord,
    HealthStatus,
    ProbeResult,
    apply_result,
    cut_output,
    make_plan,
    next_interval_ns,
    timeout_text,
)
from kedge.engine.state import Status
from kedge.errdefs import KedgeError, NotFoundError, SystemFailureError

_CHUNK: Final = 65536
_FRAME_HEADER: Final = 8
# Enough for the output that is kept even if every byte comes in a frame of its own.
_MAX_RAW: Final = (MAX_OUTPUT + 1) * (_FRAME_HEADER + 1)


class HealthChecks:
    """The checks of one engine."""

    def __init__(
        self,
        context: EngineContext,
        execs: ExecService,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Check nothing yet."""
        self._context = context
        self._execs = execs
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(self, container: Container, *, since_ns: int = 0) -> None:
        """Check a running container from now on, if it has a check.

        Args:
            container: One that runs.
            since_ns: When the wait for the first probe began; 0 for the latest probe or the start.
        """
        self.leave(container)
        plan, record = make_plan(container.record.config), container.record
        if plan is None:
            return
        if record.health is None:
            # Its record was written before this engine knew of checks.
            record.health = HealthRecord()
        latest = record.health.log[-1].end_ns if record.health.log else 0
        task = asyncio.get_running_loop().create_task(
            self._check(container, plan, record.health, since_ns or max(latest, record.started_ns))
        )
        self._tasks[container.id] = task

    def leave(self, container: Container) -> None:
        """Check it no more: it is paused or has ended."""
        task = self._tasks.pop(container.id, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Check nothing any more."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check(
        self, container: Container, plan: HealthPlan, health: HealthRecord, since_ns: int
    ) -> None:
        record, clock = container.record, self._context.clock
        while record.status is Status.RUNNING:
            now = clock.time_ns()
            since_start = max(since_ns - record.started_ns, 0)
            interval = next_interval_ns(plan, health.status, since_start_ns=since_start)
            # A clock that was set back makes nobody wait longer than that.
            await self._sleep(min(max(since_ns + interval - now, 0), interval) / 1e9)
            start = clock.time_ns()
            exit_code, output = await self._probe(container, plan)
            since_ns = clock.time_ns()
            if record.status is Status.RUNNING:
                result = ProbeResult(
                    start_ns=start, end_ns=since_ns, exit_code=exit_code, output=output
                )
                self._take(container, plan, health, result)

    def _take(
        self, container: Container, plan: HealthPlan, health: HealthRecord, result: ProbeResult
    ) -> None:
        before = health.status
        if apply_result(plan, health, result, started_ns=container.record.started_ns):
            # A full disk keeps the news from the next engine only, which asks for itself.
            with contextlib.suppress(SystemFailureError, NotFoundError):
                container.save()
        if health.status is not before:
            container.changes.tell()
            announce(self._context, container, f"health_status: {health.status}")

    async def _probe(self, container: Container, plan: HealthPlan) -> tuple[int, str]:
        """Ask once; return the exit code and what to keep of the output."""
        request = ExecCreateRequest(cmd=list(plan.command), attach_stdout=True, attach_stderr=True)
        output = bytearray()
        try:
            async with asyncio.timeout(plan.timeout_ns / 1e9):
                created = await self._execs.create(container.id, request, ends_with_client=True)
                try:
                    code = await self._run(created.id, output)
                finally:
                    self._execs.forget(created.id)
        except TimeoutError:
            return COULD_NOT_ASK, timeout_text(plan, payloads(output))
        except KedgeError as error:
            return COULD_NOT_ASK, str(error)
        return code, cut_output(payloads(output))

    async def _run(self, exec_id: str, output: bytearray) -> int:
        stream = await self._execs.start(exec_id, ExecStartRequest())
        if stream is not None and stream.sock is not None:
            with contextlib.closing(stream.sock) as sock:
                await _read(sock, output)
                return await self._execs.wait(exec_id)
        return await self._execs.wait(exec_id)


async def _read(sock: socket.socket, output: bytearray) -> None:
    """Read to the end and keep the first bytes."""
    loop = asyncio.get_running_loop()
    while chunk := await loop.sock_recv(sock, _CHUNK):
        output += chunk[: max(0, _MAX_RAW - len(output))]


def payloads(raw: bytes | bytearray) -> bytes:
    """Return what the stdcopy frames in ``raw`` carry, the last of which may be cut off."""
    found, position = bytearray(), 0
    while position + _FRAME_HEADER <= len(raw):
        begin = position + _FRAME_HEADER
        size = int.from_bytes(raw[position + 4 : begin], "big")
        found += raw[begin : begin + size]
        position = begin + size
    return bytes(found)


def end_health(container: Container) -> None:
    """Note that a container has ended; Docker calls it unhealthy then."""
    if container.record.health is not None:
        container.record.health.status = HealthStatus.UNHEALTHY
