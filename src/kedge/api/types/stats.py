"""Container statistics. Vocabulary: moby `api/types/container/stats.go`, keys in snake case.

Counters are cumulative; times in nanoseconds, sizes in bytes.
"""

import msgspec
from msgspec import field

from kedge.api.types.wire import shown_list, zero_time


class _SnakeWire(msgspec.Struct, omit_defaults=True):
    """A wire object whose keys are the field names as they are."""


class PidsStats(_SnakeWire):
    """Number of tasks in the container's cgroup."""

    current: int = 0
    limit: int = 0


class BlkioEntry(_SnakeWire):
    """One counter of one block device."""

    major: int = field(default_factory=int)
    minor: int = field(default_factory=int)
    op: str = field(default_factory=str)
    value: int = field(default_factory=int)


class BlkioStats(_SnakeWire):
    """Block I/O by device; only the first two lists are filled on cgroup v2."""

    io_service_bytes_recursive: list[BlkioEntry] | None = shown_list()
    io_serviced_recursive: list[BlkioEntry] | None = shown_list()
    io_queue_recursive: list[BlkioEntry] | None = shown_list()
    io_service_time_recursive: list[BlkioEntry] | None = shown_list()
    io_wait_time_recursive: list[BlkioEntry] | None = shown_list()
    io_merged_recursive: list[BlkioEntry] | None = shown_list()
    io_time_recursive: list[BlkioEntry] | None = shown_list()
    sectors_recursive: list[BlkioEntry] | None = shown_list()


class StorageStats(_SnakeWire):
    """Always empty on Linux."""


class CPUUsage(_SnakeWire):
    """CPU time used; `percpu_usage` only on cgroup v1."""

    total_usage: int = field(default_factory=int)
    percpu_usage: list[int] = field(default_factory=list)
    usage_in_kernelmode: int = field(default_factory=int)
    usage_in_usermode: int = field(default_factory=int)


class ThrottlingData(_SnakeWire):
    """How often the CPU quota stopped the container."""

    periods: int = field(default_factory=int)
    throttled_periods: int = field(default_factory=int)
    throttled_time: int = field(default_factory=int)


class CPUStats(_SnakeWire):
    """CPU use beside the host's own counter, from which clients compute a percentage."""

    cpu_usage: CPUUsage = field(default_factory=CPUUsage)
    system_cpu_usage: int = 0
    online_cpus: int = 0
    throttling_data: ThrottlingData = field(default_factory=ThrottlingData)


class MemoryStats(_SnakeWire):
    """Memory use; `stats` is the kernel's memory.stat."""

    usage: int = 0
    max_usage: int = 0
    stats: dict[str, int] = field(default_factory=dict)
    failcnt: int = 0
    limit: int = 0


class NetworkStats(_SnakeWire):
    """Counters of one interface, seen from inside the container."""

    rx_bytes: int = field(default_factory=int)
    rx_packets: int = field(default_factory=int)
    rx_errors: int = field(default_factory=int)
    rx_dropped: int = field(default_factory=int)
    tx_bytes: int = field(default_factory=int)
    tx_packets: int = field(default_factory=int)
    tx_errors: int = field(default_factory=int)
    tx_dropped: int = field(default_factory=int)


class Stats(_SnakeWire):
    """One sample; `precpu_stats` and `preread` are the sample before it.

    A container that does not run has its id and name and zeroes everywhere else.
    """

    name: str = ""
    id: str = ""
    os_type: str = ""
    read: str = field(default_factory=zero_time)
    cpu_stats: CPUStats = field(default_factory=CPUStats)
    memory_stats: MemoryStats = field(default_factory=MemoryStats)
    networks: dict[str, NetworkStats] = field(default_factory=dict)
    pids_stats: PidsStats = field(default_factory=PidsStats)
    blkio_stats: BlkioStats = field(default_factory=BlkioStats)
    num_procs: int = field(default_factory=int)
    storage_stats: StorageStats = field(default_factory=StorageStats)
    preread: str = field(default_factory=zero_time)
    precpu_stats: CPUStats = field(default_factory=CPUStats)
