"""Reading cgroup v1's counters."""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups.files import read_text
from kedge.runtime.cgroups.stats import (
    BlkioEntry,
    CgroupStats,
    CpuStats,
    MemoryStats,
    PidsStats,
    parse_blkio,
    parse_flat_keyed,
    parse_limit,
    parse_number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def read_stats(directories: Mapping[str, str]) -> CgroupStats:
    """Return the counters of the controllers in ``directories``; of the others, zeros."""
    return CgroupStats(
        version=1,
        cpu=_read_cpu(directories.get("cpuacct"), directories.get("cpu")),
        memory=_read_memory(directories.get("memory")),
        pids=_read_pids(directories.get("pids")),
        io_service_bytes=_read_blkio(directories.get("blkio"), "io_service_bytes"),
        io_serviced=_read_blkio(directories.get("blkio"), "io_serviced"),
    )


def read_oom_kills(directory: str) -> int:
    """Return ``oom_kill`` of ``memory.oom_control``."""
    return parse_flat_keyed(read_text(f"{directory}/memory.oom_control")).get("oom_kill", 0)


def _read_cpu(cpuacct: str | None, cpu: str | None) -> CpuStats:
    stats = CpuStats()
    if cpuacct is not None:
        user, system = _read_user_system(cpuacct)
        percpu = read_text(f"{cpuacct}/cpuacct.usage_percpu").split()
        stats = CpuStats(
            usage_ns=parse_number(read_text(f"{cpuacct}/cpuacct.usage")),
            user_ns=user,
            system_ns=system,
            percpu_ns=tuple(int(value) for value in percpu),
        )
    if cpu is not None:
        counters = parse_flat_keyed(read_text(f"{cpu}/cpu.stat"))
        stats = stats._replace(
            periods=counters.get("nr_periods", 0),
            throttled_periods=counters.get("nr_throttled", 0),
            throttled_ns=counters.get("throttled_time", 0),
        )
    return stats


def _read_user_system(directory: str) -> tuple[int, int]:
    # In nanoseconds since Linux 4.6; the older file counts clock ticks.
    user = read_text(f"{directory}/cpuacct.usage_user")
    if user:
        system = read_text(f"{directory}/cpuacct.usage_sys")
        return parse_number(user), parse_number(system)
    ticks = parse_flat_keyed(read_text(f"{directory}/cpuacct.stat"))
    return ticks.get("user", 0) * _TICK_NS, ticks.get("system", 0) * _TICK_NS


def _read_memory(directory: str | None) -> MemoryStats:
    if directory is None:
        return MemoryStats()
    return MemoryStats(
        usage=parse_number(read_text(f"{directory}/memory.usage_in_bytes")),
        max_usage=parse_number(read_text(f"{directory}/memory.max_usage_in_bytes")),
        limit=parse_limit(read_text(f"{directory}/memory.limit_in_bytes")),
        failcnt=parse_number(read_text(f"{directory}/memory.failcnt")),
        oom_kills=read_oom_kills(directory),
        stat=parse_flat_keyed(read_text(f"{directory}/memory.stat")),
    )


def _read_pids(directory: str | None) -> PidsStats:
    if directory is None:
        return PidsStats()
    return PidsStats(
        current=parse_number(read_text(f"{directory}/pids.current")),
        limit=parse_limit(read_text(f"{directory}/pids.max")),
    )


def _read_blkio(directory: str | None, name: str) -> tuple[BlkioEntry, ...]:
    """Return a counter from the first accounting that has seen anything.

    The throttling layer sees every request; the scheduler's own counters are for kernels older
    than its recursive files.
    """
    if directory is None:
        return ()
    for file in (
        f"blkio.throttle.{name}_recursive",
        f"blkio.{name}_recursive",
        f"blkio.bfq.{name}_recursive",
        f"blkio.throttle.{name}",
    ):
        entries = parse_blkio(read_text(f"{directory}/{file}"))
        if entries:
            return entries
    return ()
