"""Writing ``linux.resources`` into cgroup v1's files."""

from __future__ import annotations

import errno
import os

from kedge.errdefs import InvalidParameterError, NotSupportedError, UnavailableError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.runtime_spec_resources import (
    BlockIoResources,
    CpuResources,
    DeviceRule,
    DeviceValue,
    HugepageLimit,
    MemoryResources,
    NetworkResources,
    RdmaLimit,
    Resources,
)
from kedge.runtime.cgroups.devices import parse_devices_list, plan_changes, reduce_rules
from kedge.runtime.cgroups.files import read_text, refusal, write_limit, write_value
from kedge.runtime.cgroups.stats import parse_limit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final


_SWAP_FILE: Final = "memory.memsw.limit_in_bytes"


def required_controllers(resources: Resources) -> list[str]:
    """Return the controllers without which a limit of ``resources`` could not be kept.

    Raises:
        NotSupportedError: ``unified`` is used, which only means something on cgroup v2.
    """
    if resources.unified:
        raise NotSupportedError("linux.resources.unified needs cgroup v2; this host has cgroup v1")
    asked = {
        "cpu": any(
            value is not None
            for value in resources.cpu._replace(cpus="", mems="")
            if not isinstance(value, str)
        ),
        "cpuset": bool(resources.cpu.cpus or resources.cpu.mems),
        "memory": resources.memory != MemoryResources(),
        "pids": resources.pids_limit is not None,
        "blkio": resources.block_io != BlockIoResources(),
        "hugetlb": bool(resources.hugepage_limits),
        "net_cls": resources.network.class_id is not None,
        "net_prio": bool(resources.network.priorities),
        "rdma": bool(resources.rdma),
    }
    return [controller for controller, wanted in asked.items() if wanted]


def apply(directories: Mapping[str, str], resources: Resources) -> None:
    """Write every limit ``resources`` mentions into the directory of its controller."""
    if resources.devices is not None and "devices" in directories:
        _apply_devices(directories["devices"], resources.devices)
    if "memory" in directories:
        _apply_memory(directories["memory"], resources.memory)
    if "cpu" in directories:
        _apply_cpu(directories["cpu"], resources.cpu)
    if "cpuset" in directories:
        _apply_cpuset(directories["cpuset"], resources.cpu)
    if resources.pids_limit is not None:
        value = str(resources.pids_limit) if resources.pids_limit > 0 else "max"
        write_limit(f"{directories['pids']}/pids.max", value)
    if "blkio" in directories:
        _apply_blkio(directories["blkio"], resources.block_io)
    if resources.hugepage_limits:
        apply_hugetlb(directories["hugetlb"], resources.hugepage_limits, "limit_in_bytes")
    _apply_network(directories, resources.network)
    if resources.rdma:
        apply_rdma(directories["rdma"], resources.rdma)


def _apply_devices(directory: str, rules: Sequence[DeviceRule]) -> None:
    target = reduce_rules(rules)
    current = parse_devices_list(read_text(f"{directory}/devices.list"))
    descriptors: dict[str, int] = {}
    try:
        for name, line in plan_changes(current, target):
            if name not in descriptors:
                descriptors[name] = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptors[name], line.encode())
            except OSError as error:
                raise refusal(error, f"{directory}/{name}", line) from error
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _apply_memory(directory: str, memory: MemoryResources) -> None:
    _apply_memory_and_swap(directory, memory)
    if memory.reservation:
        write_limit(f"{directory}/memory.soft_limit_in_bytes", str(memory.reservation))
    if memory.kernel_tcp:
        write_limit(f"{directory}/memory.kmem.tcp.limit_in_bytes", str(memory.kernel_tcp))
    if memory.disable_oom_killer is not None:
        write_limit(f"{directory}/memory.oom_control", str(int(memory.disable_oom_killer)))
    if memory.swappiness is not None:
        write_limit(f"{directory}/memory.swappiness", str(memory.swappiness))


def _apply_memory_and_swap(directory: str, memory: MemoryResources) -> None:
    """Write both limits in the order the kernel accepts: memory may never exceed memory+swap.

    Growing means the swap limit first, shrinking the memory limit first.
    """
    limit, swap = memory.limit or 0, memory.swap or 0
    has_swap = os.path.exists(f"{directory}/{_SWAP_FILE}")
    if limit == -1 and swap == 0 and has_swap:
        swap = -1  # unlimited memory under a smaller memory+swap limit would be refused
    if swap > 0 and limit > swap:
        raise InvalidParameterError(
            f"memory+swap limit {swap} must not be smaller than the memory limit {limit}"
        )
    if swap == -1 and not has_swap:
        swap = 0  # without swap accounting there is no limit to lift
    if not limit:
        _set_swap(directory, swap)
        return
    current = parse_limit(read_text(f"{directory}/memory.limit_in_bytes"))
    growing = swap == -1 or (current != -1 and current < swap)
    if swap and growing:
        _set_swap(directory, swap)
        _set_memory(directory, limit)
    else:
        _set_memory(directory, limit)
        _set_swap(directory, swap)


def _set_swap(directory: str, swap: int) -> None:
    if swap:
        write_limit(f"{directory}/{_SWAP_FILE}", str(swap))


def _set_memory(directory: str, limit: int) -> None:
    path = f"{directory}/memory.limit_in_bytes"
    try:
        write_value(path, str(limit))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise refusal(error, path, str(limit)) from error
        usage = read_text(f"{directory}/memory.usage_in_bytes").strip()
        raise UnavailableError(
            f"cannot lower the memory limit to {limit} bytes: {usage} bytes are in use"
        ) from error


def _apply_cpu(directory: str, cpu: CpuResources) -> None:
    if cpu.realtime_period:
        write_limit(f"{directory}/cpu.rt_period_us", str(cpu.realtime_period))
    if cpu.realtime_runtime:
        # Needs a budget in every cgroup above: the kernel gives none by default.
        write_limit(f"{directory}/cpu.rt_runtime_us", str(cpu.realtime_runtime))
    if cpu.shares:
        write_limit(f"{directory}/cpu.shares", str(cpu.shares))
    _apply_bandwidth(directory, cpu)
    if cpu.idle is not None:
        write_limit(f"{directory}/cpu.idle", str(cpu.idle))


def _apply_bandwidth(directory: str, cpu: CpuResources) -> None:
    """Write period, burst and quota.

    Each is checked against the present values of the others, so what the kernel refuses before
    the quota is written is tried once more after it.
    """
    later: list[tuple[str, str]] = []
    for name, value in (("cpu.cfs_period_us", cpu.period), ("cpu.cfs_burst_us", cpu.burst)):
        if value is None or (value == 0 and name == "cpu.cfs_period_us"):
            continue
        path = f"{directory}/{name}"
        try:
            write_value(path, str(value))
        except OSError as error:
            if error.errno != errno.EINVAL or not cpu.quota:
                raise refusal(error, path, str(value)) from error
            later.append((path, str(value)))
    if cpu.quota:
        write_limit(f"{directory}/cpu.cfs_quota_us", str(cpu.quota))
    for path, text in later:
        write_limit(path, text)


def inherit_cpuset(base: str, path: str) -> None:
    """Copy processors and memory nodes down to ``path`` where they are empty.

    A new v1 cpuset is empty unless ``cgroup.clone_children`` is on, and nothing can join an empty
    one.
    """
    directory = base
    for part in path.split("/"):
        parent, directory = directory, f"{directory}/{part}"
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not read_text(f"{directory}/{name}").strip():
                write_limit(f"{directory}/{name}", read_text(f"{parent}/{name}").strip())


def _apply_cpuset(directory: str, cpu: CpuResources) -> None:
    if cpu.cpus:
        write_limit(f"{directory}/cpuset.cpus", cpu.cpus)
    if cpu.mems:
        write_limit(f"{directory}/cpuset.mems", cpu.mems)


def _apply_blkio(directory: str, block_io: BlockIoResources) -> None:
    if block_io.weight:
        write_limit(_weight_file(directory, "weight"), str(block_io.weight))
    for device in block_io.weight_device:
        value = f"{device.major}:{device.minor} {device.value}"
        write_limit(_weight_file(directory, "weight_device"), value)
    throttles: tuple[tuple[str, tuple[DeviceValue, ...]], ...] = (
        ("read_bps", block_io.throttle_read_bps),
        ("write_bps", block_io.throttle_write_bps),
        ("read_iops", block_io.throttle_read_iops),
        ("write_iops", block_io.throttle_write_iops),
    )
    for name, devices in throttles:
        for device in devices:
            value = f"{device.major}:{device.minor} {device.value}"
            write_limit(f"{directory}/blkio.throttle.{name}_device", value)


def _weight_file(directory: str, name: str) -> str:
    # The CFQ scheduler's files went with it in Linux 5.0; BFQ has its own.
    for candidate in (f"{directory}/blkio.{name}", f"{directory}/blkio.bfq.{name}"):
        if os.path.exists(candidate):
            return candidate
    raise NotSupportedError("this kernel has no I/O scheduler with weights (BFQ)")


def apply_hugetlb(directory: str, limits: Sequence[HugepageLimit], suffix: str) -> None:
    """Write huge page limits; reservations too, where the kernel limits them (Linux 5.7).

    Args:
        directory: The cgroup.
        limits: One per page size.
        suffix: ``limit_in_bytes`` on v1, ``max`` on v2.
    """
    for entry in limits:
        write_limit(f"{directory}/hugetlb.{entry.page_size}.{suffix}", str(entry.limit))
        reserved = f"{directory}/hugetlb.{entry.page_size}.rsvd.{suffix}"
        if os.path.exists(reserved):
            write_limit(reserved, str(entry.limit))


def _apply_network(directories: Mapping[str, str], network: NetworkResources) -> None:
    if network.class_id is not None:
        write_limit(f"{directories['net_cls']}/net_cls.classid", str(network.class_id))
    for entry in network.priorities:
        path = f"{directories['net_prio']}/net_prio.ifpriomap"
        write_limit(path, f"{entry.name} {entry.priority}")


def apply_rdma(directory: str, limits: Sequence[RdmaLimit]) -> None:
    """Write RDMA limits; the file is the same on both versions."""
    for entry in limits:
        words = [entry.device]
        if entry.hca_handles is not None:
            words.append(f"hca_handle={entry.hca_handles}")
        if entry.hca_objects is not None:
            words.append(f"hca_object={entry.hca_objects}")
        write_limit(f"{directory}/rdma.max", " ".join(words))
