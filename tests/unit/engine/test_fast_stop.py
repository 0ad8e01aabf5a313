"""When a stop signal can have no effect, judged from what /proc shows."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.engine.faststop import (
    SETTLE_S,
    ThreadState,
    is_thrown_away,
    may_stop_fast,
    parse_thread,
    read_threads,
    stays_thrown_away,
)
from kedge.engine.record import ContainerRecord

TERM_BIT = 1 << (signal.SIGTERM - 1)
DEAF = ThreadState(caught=0, blocked=0, tracer=0, innermost_pid=1, call=35)


def record(host: HostConfig | None = None) -> ContainerRecord:
    return ContainerRecord(
        id="1" * 64, name="box", created_ns=1, image_id="sha256:1", path="sh", args=[],
        config=ContainerConfig(), host_config=host or HostConfig(),
    )  # fmt: skip


def test_the_rule() -> None:
    other = DEAF._replace(call=-1)
    assert is_thrown_away([DEAF, other], signal.SIGTERM)
    assert is_thrown_away([DEAF._replace(caught=TERM_BIT)], signal.SIGINT)
    for spoiled in (
        DEAF._replace(caught=TERM_BIT),
        DEAF._replace(blocked=TERM_BIT),
        DEAF._replace(tracer=7),
        DEAF._replace(innermost_pid=2),
        DEAF._replace(call=128),
        DEAF._replace(call=137),
    ):
        assert not is_thrown_away([spoiled], signal.SIGTERM)
        assert not is_thrown_away([DEAF, spoiled], signal.SIGTERM)
    # Nothing is known of a process that is gone.
    assert not is_thrown_away([], signal.SIGTERM)


def test_whom_it_concerns() -> None:
    def may(of: ContainerRecord, *, number: int = 15, on: bool = True, init: bool = False) -> bool:
        return may_stop_fast(of, number, enabled=on, init=init)

    assert may(record())
    assert not may(record(), on=False)
    assert not may(record(), init=True)
    assert may(record(HostConfig(init=False)), init=True)
    assert not may(record(HostConfig(init=True)))
    assert not may(record(HostConfig(pid_mode="host")))
    assert not may(record(HostConfig(pid_mode="container:db")))
    assert not may(record(), number=signal.SIGKILL)
    off = record()
    off.config.labels["kedge.fast-stop"] = "false"
    assert not may(off)
    off.config.labels["kedge.fast-stop"] = "true"
    assert may(off, on=False)


def test_what_proc_says_is_read() -> None:
    status = "Name:\tsh\nTracerPid:\t0\nNStgid:\t812\t1\nSigBlk:\t0000000000004000\nSigCgt:\t02\n"
    assert parse_thread(status, "230 0x0 0x0\n") == ThreadState(2, TERM_BIT, 0, 1, 230)
    assert parse_thread(status, "running\n").call == -1
    for bad in (("", "running"), (status, "")):
        with pytest.raises(ValueError, match="not a thread's status"):
            parse_thread(*bad)
    assert read_threads(2**22 + 1) == []


SIGWAIT = "import signal; print(flush=True); signal.sigwait([signal.SIGTERM])"
SIGWAIT_IN_A_THREAD = (
    "import signal, threading, time\n"
    "threading.Thread(target=signal.sigwait, args=([signal.SIGTERM],), daemon=True).start()\n"
    "print(flush=True); time.sleep(60)"
)


@pytest.fixture(params=[SIGWAIT, SIGWAIT_IN_A_THREAD])
def waiter(request: pytest.FixtureRequest) -> Iterator[int]:
    command = [sys.executable, "-c", str(request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see another process's system call")
def test_who_waits_for_a_signal_shows_it_nowhere_in_the_masks(waiter: int) -> None:
    threads = read_threads(waiter)
    while not any(thread.call in {128, 137} for thread in threads):
        threads = read_threads(waiter)
        assert threads
    assert not any(thread.caught & TERM_BIT or thread.blocked & TERM_BIT for thread in threads)
    first = [thread._replace(innermost_pid=1) for thread in threads]
    assert not is_thrown_away(first, signal.SIGTERM)


def test_a_handler_that_comes_late_is_waited_for() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def later(_pid: int) -> list[ThreadState]:
        return [DEAF._replace(caught=TERM_BIT if len(waits) == 3 else 0)]

    async def main() -> None:
        assert not await stays_thrown_away(7, 15, read=later, sleep=sleep)
        assert len(waits) == 3
        waits.clear()
        assert await stays_thrown_away(7, 15, read=lambda _: [DEAF], sleep=sleep)
        assert abs(sum(waits) - SETTLE_S) < 1e-6

    asyncio.run(main())
