"""Writing ``linux.resources`` into cgroup v2's files.

What only v1 has (swappiness, disabling the OOM killer, realtime budgets, network classes) is left
out as runc and crun do: nothing is less confined for it.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import NotSupportedError, UnavailableError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.runtime_spec_resources import (
    BlockIoResources,
    CpuResources,
    DeviceValue,
    MemoryResources,
    Resources,
)
from kedge.runtime.cgroups.conversions import (
    io_weight_from_blkio,
    limit_text,
    swap_from_memory_and_swap,
    weight_from_shares,
)
from kedge.runtime.cgroups.files import read_text, refusal, write_limit, write_value
from kedge.runtime.cgroups.stats import parse_number
from kedge.runtime.cgroups.v1_resources import apply_hugetlb, apply_rdma

if TYPE_CHECKING:
    from typing import Final


_DEFAULT_PERIOD_US: Final = 100_000


def required_controllers(resources: Resources) -> list[str]:
    """Return the controllers without which a limit of ``resources`` could not be kept."""
    memory, cpu = resources.memory, resources.cpu
    asked = {
        "cpu": bool(cpu.shares or cpu.quota or cpu.period or cpu.burst or cpu.idle is not None),
        "cpuset": bool(cpu.cpus or cpu.mems),
        "memory": bool(memory.limit or memory.swap or memory.reservation),
        "pids": resources.pids_limit is not None,
        "io": resources.block_io != BlockIoResources(),
        "hugetlb": bool(resources.hugepage_limits),
        "rdma": bool(resources.rdma),
    }
    return [controller for controller, wanted in asked.items() if wanted]


def apply(directory: str, resources: Resources) -> None:
    """Write every limit ``resources`` mentions; ``unified`` last, so that it has the last word."""
    _apply_memory(directory, resources.memory)
    _apply_cpu(directory, resources.cpu)
    if resources.pids_limit is not None:
        value = str(resources.pids_limit) if resources.pids_limit > 0 else "max"
        write_limit(f"{directory}/pids.max", value)
    _apply_io(directory, resources.block_io)
    apply_hugetlb(directory, resources.hugepage_limits, "max")
    apply_rdma(directory, resources.rdma)
    for name, text in resources.unified:
        for line in text.splitlines() or [""]:
            write_limit(f"{directory}/{name}", line)


def _apply_memory(directory: str, memory: MemoryResources) -> None:
    limit = memory.limit or 0
    if memory.check_before_update and limit > 0:
        usage = parse_number(read_text(f"{directory}/memory.current"))
        if usage > limit:
            raise UnavailableError(
                f"cannot lower the memory limit to {limit} bytes: {usage} bytes are in use"
            )
    _apply_swap(directory, memory)
    if limit:
        write_limit(f"{directory}/memory.max", limit_text(limit))
    if memory.reservation:
        write_limit(f"{directory}/memory.low", limit_text(memory.reservation))


def _apply_swap(directory: str, memory: MemoryResources) -> None:
    if memory.swap:
        swap = swap_from_memory_and_swap(swap=memory.swap, limit=memory.limit)
    elif memory.limit == -1:
        swap = -1
    else:
        return
    path = f"{directory}/memory.swap.max"
    try:
        write_value(path, limit_text(swap))
    except OSError as error:
        # Without swap accounting, "no swap" and "any swap" are what there is anyway.
        if error.errno != errno.ENOENT or swap > 0:
            raise refusal(error, path, limit_text(swap)) from error


def _apply_cpu(directory: str, cpu: CpuResources) -> None:
    if cpu.idle is not None:
        write_limit(f"{directory}/cpu.idle", str(cpu.idle))
    # The kernel refuses a weight for an idle cgroup.
    if cpu.shares and cpu.idle != 1:
        write_limit(f"{directory}/cpu.weight", str(weight_from_shares(cpu.shares)))
    _apply_bandwidth(directory, cpu)
    if cpu.cpus:
        write_limit(f"{directory}/cpuset.cpus", cpu.cpus)
    if cpu.mems:
        write_limit(f"{directory}/cpuset.mems", cpu.mems)


def _apply_bandwidth(directory: str, cpu: CpuResources) -> None:
    """Write quota with period, and the burst before or after it, whichever the kernel takes."""
    burst_path = f"{directory}/cpu.max.burst"
    burst_is_late = False
    if cpu.burst is not None:
        try:
            write_value(burst_path, str(cpu.burst))
        except OSError as error:
            if error.errno != errno.EINVAL or not cpu.quota:
                raise refusal(error, burst_path, str(cpu.burst)) from error
            burst_is_late = True
    if cpu.quota or cpu.period:
        current = read_text(f"{directory}/cpu.max").split() or ["max", str(_DEFAULT_PERIOD_US)]
        quota = limit_text(cpu.quota) if cpu.quota else current[0]
        period = str(cpu.period or current[-1])
        write_limit(f"{directory}/cpu.max", f"{quota} {period}")
    if burst_is_late:
        write_limit(burst_path, str(cpu.burst))


def _apply_io(directory: str, block_io: BlockIoResources) -> None:
    if block_io.weight:
        _write_weight(directory, "", block_io.weight)
    for device in block_io.weight_device:
        _write_weight(directory, f"{device.major}:{device.minor} ", device.value)
    throttles: tuple[tuple[str, tuple[DeviceValue, ...]], ...] = (
        ("rbps", block_io.throttle_read_bps),
        ("wbps", block_io.throttle_write_bps),
        ("riops", block_io.throttle_read_iops),
        ("wiops", block_io.throttle_write_iops),
    )
    for name, devices in throttles:
        for device in devices:
            value = "max" if device.value == 0 else str(device.value)
            write_limit(f"{directory}/io.max", f"{device.major}:{device.minor} {name}={value}")


def _write_weight(directory: str, device: str, weight: int) -> None:
    """Write BFQ's weight, which has blkio's range, or else the cost model's, which has its own."""
    path, value = f"{directory}/io.bfq.weight", f"{device}{weight}"
    if not os.path.exists(path):
        path = f"{directory}/io.weight"
        value = f"{device or 'default '}{io_weight_from_blkio(weight)}"
    try:
        write_value(path, value)
    except OSError as error:
        if error.errno == errno.ENOENT and os.path.isdir(directory):
            raise NotSupportedError("this kernel has no I/O weights (BFQ or io.cost)") from error
        if error.errno == errno.EOPNOTSUPP:
            raise NotSupportedError(
                f"neither BFQ nor io.cost is switched on for device {device.strip()}, so {value!r} "
                f"cannot be set"
            ) from error
        raise refusal(error, path, value) from error
