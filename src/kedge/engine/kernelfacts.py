"""What this kernel can limit, read once: moby's ``sysinfo``, for the checks of create and update.

A limit that the kernel does not have is discarded with a warning in Docker's words, so this must
say no only where that is true.
"""

import functools
import os
from dataclasses import dataclass
from typing import Final

_ROOT: Final = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """The limits there are; the defaults are a kernel that has them all."""

    memory: bool = True
    swap: bool = True
    swappiness: bool = True
    reservation: bool = True
    oom_kill_disable: bool = True
    pids: bool = True
    cpu_shares: bool = True
    cpu_cfs: bool = True
    cpu_realtime: bool = True
    cpuset: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_throttle: bool = True
    cgroup_namespaces: bool = True
    apparmor: bool = False
    processors: int = 1
    cpus: str = "0"
    """Processors a cpuset may name, as the kernel lists them."""
    mems: str = "0"


@functools.cache
def read_facts() -> KernelFacts:
    """Return what this host's kernel can do."""
    common = {
        "cgroup_namespaces": os.path.exists("/proc/self/ns/cgroup"),
        "apparmor": os.path.exists("/sys/module/apparmor/parameters/enabled"),
    }
    if os.path.exists(f"{_ROOT}/cgroup.controllers"):
        return _read_v2(_ROOT, **common)
    return _read_v1(_ROOT, **common)


def _read_v2(root: str, *, cgroup_namespaces: bool, apparmor: bool) -> KernelFacts:
    controllers = set(_read(f"{root}/cgroup.controllers").split())
    return KernelFacts(
        memory="memory" in controllers,
        swap="memory" in controllers and counts_swap(root),
        swappiness=False,
        reservation="memory" in controllers,
        oom_kill_disable=False,
        pids="pids" in controllers,
        cpu_shares="cpu" in controllers,
        cpu_cfs="cpu" in controllers,
        cpu_realtime=False,
        cpuset="cpuset" in controllers,
        blkio_weight="io" in controllers,
        blkio_weight_device="io" in controllers,
        blkio_throttle="io" in controllers,
        cgroup_namespaces=cgroup_namespaces,
        apparmor=apparmor,
        processors=len(os.sched_getaffinity(0)),
        cpus=_read(f"{root}/cpuset.cpus.effective"),
        mems=_read(f"{root}/cpuset.mems.effective"),
    )


def _read_v1(root: str, *, cgroup_namespaces: bool, apparmor: bool) -> KernelFacts:
    def has(path: str) -> bool:
        return os.path.exists(f"{root}/{path}")

    # The weights are not in the topmost directory, but they come with BFQ's counters, which are.
    weights = has("blkio/blkio.weight") or has("blkio/blkio.bfq.io_serviced")
    return KernelFacts(
        memory=has("memory/memory.limit_in_bytes"),
        swap=has("memory/memory.memsw.limit_in_bytes"),
        swappiness=has("memory/memory.swappiness"),
        reservation=has("memory/memory.soft_limit_in_bytes"),
        oom_kill_disable=has("memory/memory.oom_control"),
        pids=has("pids/cgroup.procs"),
        cpu_shares=has("cpu/cpu.shares"),
        cpu_cfs=has("cpu/cpu.cfs_quota_us"),
        cpu_realtime=has("cpu/cpu.rt_runtime_us"),
        cpuset=has("cpuset/cpuset.cpus"),
        blkio_weight=weights,
        blkio_weight_device=weights,
        blkio_throttle=has("blkio/blkio.throttle.read_bps_device"),
        cgroup_namespaces=cgroup_namespaces,
        apparmor=apparmor,
        processors=len(os.sched_getaffinity(0)),
        cpus=_read(f"{root}/cpuset/cpuset.cpus"),
        mems=_read(f"{root}/cpuset/cpuset.mems"),
    )


def counts_swap(root: str) -> bool:
    """Whether swap can be limited: the topmost cgroup lacks the file, those below it have it.

    Where nobody has switched the memory controller on for them yet, whether the kernel swaps
    at all decides.
    """
    with os.scandir(root) as entries:
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    counting = [path for path in below if os.path.exists(f"{path}/memory.max")]
    if not counting:
        return os.path.exists("/proc/swaps")
    return any(os.path.exists(f"{path}/memory.swap.max") for path in counting)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
