"""``docker stats``: the shim's cgroup counters and /proc's network counters in the API's shape."""

import asyncio
import os
from collections.abc import AsyncIterator

import msgspec

from kedge.api.types.stats import (
    BlkioEntry,
    BlkioStats,
    CPUStats,
    CPUUsage,
    MemoryStats,
    NetworkStats,
    PidsStats,
    Stats,
    ThrottlingData,
)
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.errdefs import KedgeError
from kedge.lib.clock import format_rfc3339
from kedge.lib.jsontypes import JsonObject

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class _Cpu(msgspec.Struct):
    usage_ns: int = 0
    user_ns: int = 0
    system_ns: int = 0
    percpu_ns: list[int] = []
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


class _Memory(msgspec.Struct):
    usage: int = 0
    max_usage: int = 0
    limit: int = -1
    failcnt: int = 0
    stat: dict[str, int] = {}


class _Pids(msgspec.Struct):
    current: int = 0
    limit: int = -1


class _Io(msgspec.Struct):
    major: int
    minor: int
    op: str
    value: int


class _Sample(msgspec.Struct):
    """What the shim answers; the field names are those of its cgroup counters."""

    cpu: _Cpu
    memory: _Memory
    pids: _Pids
    io_service_bytes: list[_Io] = []
    io_serviced: list[_Io] = []


async def stream_stats(
    context: EngineContext, container: Container, *, stream: bool, one_shot: bool
) -> AsyncIterator[Stats]:
    """Return samples: one a second with ``stream``, else one.

    A single sample that is not ``one_shot`` takes two readings a second apart, because a CPU
    percentage needs two.
    """
    if one_shot and not stream:
        yield await read_stats(context, container)
        return
    previous = await read_stats(context, container)
    if not container.record.alive and not stream:
        yield previous
        return
    if stream:
        yield previous
    while True:
        await asyncio.sleep(1)
        sample = await read_stats(context, container)
        sample.preread = previous.read
        sample.precpu_stats = previous.cpu_stats
        yield sample
        if not stream or container.id not in context.containers:
            return
        previous = sample


async def read_stats(context: EngineContext, container: Container) -> Stats:
    """Return one reading; a container that does not run has only id and name."""
    empty = Stats(name=f"/{container.name}", id=container.id, os_type="linux")
    shim = container.shim
    if shim is None or not container.record.alive:
        return empty
    try:
        answer = await shim.stats()
    except KedgeError:
        # It ended between the question and the answer.
        return empty
    stats = make_stats(answer)
    stats.name, stats.id, stats.os_type = empty.name, empty.id, empty.os_type
    stats.read = format_rfc3339(context.clock.time_ns())
    stats.networks = _load_networks(container.record.pid)
    return stats


def make_stats(answer: JsonObject) -> Stats:
    """Return the shim's counters in the API's shape.

    Args:
        answer: ``CgroupStats`` as a JSON object.
    """
    sample = msgspec.convert(answer, _Sample)
    cpu, memory, pids = sample.cpu, sample.memory, sample.pids
    return Stats(
        cpu_stats=CPUStats(
            cpu_usage=CPUUsage(
                total_usage=cpu.usage_ns,
                percpu_usage=list(cpu.percpu_ns),
                usage_in_kernelmode=cpu.system_ns,
                usage_in_usermode=cpu.user_ns,
            ),
            system_cpu_usage=_load_system_cpu_ns(),
            online_cpus=os.cpu_count() or 1,
            throttling_data=ThrottlingData(
                periods=cpu.periods,
                throttled_periods=cpu.throttled_periods,
                throttled_time=cpu.throttled_ns,
            ),
        ),
        memory_stats=MemoryStats(
            usage=memory.usage,
            max_usage=memory.max_usage,
            stats=dict(memory.stat),
            failcnt=memory.failcnt,
            limit=memory.limit if memory.limit >= 0 else _host_memory(),
        ),
        pids_stats=PidsStats(current=pids.current, limit=max(pids.limit, 0)),
        num_procs=0,
        blkio_stats=BlkioStats(
            io_service_bytes_recursive=_entries(sample.io_service_bytes),
            io_serviced_recursive=_entries(sample.io_serviced),
        ),
    )


def _entries(items: list[_Io]) -> list[BlkioEntry]:
    return [
        BlkioEntry(major=item.major, minor=item.minor, op=item.op.lower(), value=item.value)
        for item in items
    ]


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _load_system_cpu_ns() -> int:
    """Return the processor time of the whole host: the first eight columns of /proc/stat."""
    with open("/proc/stat", encoding="ascii") as stream:
        columns = stream.readline().split()[1:9]
    return sum(int(column) for column in columns) * _NS_PER_TICK


def _load_networks(pid: int) -> dict[str, NetworkStats]:
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as stream:
            lines = stream.read().splitlines()[2:]
    except OSError:
        return {}
    networks: dict[str, NetworkStats] = {}
    for line in lines:
        name, _, counters = line.partition(":")
        values = [int(value) for value in counters.split()]
        if name.strip() == "lo" or len(values) < 12:
            continue
        networks[name.strip()] = NetworkStats(
            rx_bytes=values[0],
            rx_packets=values[1],
            rx_errors=values[2],
            rx_dropped=values[3],
            tx_bytes=values[8],
            tx_packets=values[9],
            tx_errors=values[10],
            tx_dropped=values[11],
        )
    return networks
