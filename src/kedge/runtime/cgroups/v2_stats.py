"""Reading cgroup v2's counters."""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups.files import read_text
from kedge.runtime.cgroups.stats import (
    CgroupStats,
    CpuStats,
    MemoryStats,
    PidsStats,
    parse_flat_keyed,
    parse_io_stat,
    parse_limit,
    parse_number,
)

if TYPE_CHECKING:
    from typing import Final


_US: Final = 1000


def read_stats(directory: str) -> CgroupStats:
    """Return the counters of ``directory``; of controllers that are off, zeros."""
    cpu = parse_flat_keyed(read_text(f"{directory}/cpu.stat"))
    io = read_text(f"{directory}/io.stat")
    return CgroupStats(
        version=2,
        cpu=CpuStats(
            usage_ns=cpu.get("usage_usec", 0) * _US,
            user_ns=cpu.get("user_usec", 0) * _US,
            system_ns=cpu.get("system_usec", 0) * _US,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_usec", 0) * _US,
        ),
        memory=_read_memory(directory),
        pids=PidsStats(
            current=parse_number(read_text(f"{directory}/pids.current")),
            limit=parse_limit(read_text(f"{directory}/pids.max")),
        ),
        io_service_bytes=parse_io_stat(io, {"rbytes": "read", "wbytes": "write"}),
        io_serviced=parse_io_stat(io, {"rios": "read", "wios": "write"}),
    )


def _read_memory(directory: str) -> MemoryStats:
    events = parse_flat_keyed(read_text(f"{directory}/memory.events"))
    return MemoryStats(
        usage=parse_number(read_text(f"{directory}/memory.current")),
        max_usage=parse_number(read_text(f"{directory}/memory.peak")),
        limit=parse_limit(read_text(f"{directory}/memory.max")),
        failcnt=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        stat=parse_flat_keyed(read_text(f"{directory}/memory.stat")),
    )


def read_oom_kills(directory: str) -> int:
    """Return ``oom_kill`` of ``memory.events``."""
    return parse_flat_keyed(read_text(f"{directory}/memory.events")).get("oom_kill", 0)
