"""The types of `linux.resources`: what a cgroup limits.

None means "leave the kernel's default"; -1 is the specification's "unlimited".
"""

from collections.abc import Mapping
from typing import NamedTuple


class DeviceRule(NamedTuple):
    """One rule of the device controller; None for major or minor is every number."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


class MemoryLimits(NamedTuple):
    """Bytes; ``swap`` is memory and swap together, as in the specification."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None
    check_before_update: bool = False


class CpuLimits(NamedTuple):
    """Times in microseconds; ``cpus`` and ``mems`` are lists like ``0-3,8``."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class WeightDevice(NamedTuple):
    """A block device's own weight."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(NamedTuple):
    """A block device's bytes or operations a second."""

    major: int
    minor: int
    rate: int = 0


class BlockIoLimits(NamedTuple):
    """Weights from 10 to 1000 and throttles."""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_devices: tuple[WeightDevice, ...] = ()
    throttle_read_bps: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops: tuple[ThrottleDevice, ...] = ()


class HugepageLimit(NamedTuple):
    """Bytes of huge pages of one size, such as ``2MB``."""

    page_size: str
    limit: int


class NetworkPriority(NamedTuple):
    """An interface's priority in the net_prio controller."""

    name: str
    priority: int


class NetworkLimits(NamedTuple):
    """The net_cls and net_prio controllers of cgroup v1."""

    class_id: int | None = None
    priorities: tuple[NetworkPriority, ...] = ()


class RdmaLimit(NamedTuple):
    """Handles and objects of one RDMA device."""

    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(NamedTuple):
    """The ``linux.resources`` object."""

    devices: tuple[DeviceRule, ...] = ()
    memory: MemoryLimits = MemoryLimits()
    cpu: CpuLimits = CpuLimits()
    pids_limit: int | None = None
    block_io: BlockIoLimits = BlockIoLimits()
    hugepages: tuple[HugepageLimit, ...] = ()
    network: NetworkLimits = NetworkLimits()
    rdma: Mapping[str, RdmaLimit] = {}
    unified: Mapping[str, str] = {}
