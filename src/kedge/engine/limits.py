"""Resource limits of create and update: Docker's checks, texts and warnings. Pure.

Source: moby ``daemon/daemon_unix.go`` (`verifyPlatformContainerResources`). What the kernel cannot
limit is taken out of the request and named in a warning; what can never work is an error.
"""

from collections.abc import Callable
from typing import Final

from kedge.api.types.config import HostConfig, Resources
from kedge.engine.defaults import SHM_SIZE_BYTES
from kedge.engine.kernelfacts import KernelFacts
from kedge.errdefs import InvalidParameterError

_MIN_MEMORY: Final = 6 * 1024 * 1024
_NOT_MOUNTED: Final = "or the cgroup is not mounted"

_Discard = Callable[[str], None]


def check_limits(limits: Resources, facts: KernelFacts, *, update: bool = False) -> list[str]:
    """Raise unless ``limits`` can work; take out what the kernel does not have.

    Args:
        limits: Changed in place: discarded limits become "not asked for".
        facts: The kernel's abilities.
        update: The limits belong to an existing container.

    Returns:
        Docker's warnings about what was discarded.

    Raises:
        InvalidParameterError: A value out of range or in conflict with another, in Docker's words.
    """
    warnings: list[str] = []
    if limits.kernel_memory or limits.kernel_memory_tcp:
        limits.kernel_memory = limits.kernel_memory_tcp = 0
        warnings.append(
            "Specifying a kernel memory limit is deprecated and will be removed in a future "
            "release: it is ignored."
        )
    _check_memory(limits, facts, warnings.append, update=update)
    _check_oom_and_pids(limits, facts, warnings.append)
    _check_cpu(limits, facts, warnings.append)
    _check_cpusets(limits, facts, warnings.append)
    _check_block_io(limits, facts, warnings.append)
    return warnings


def complete_limits(host: HostConfig) -> None:
    """Fill in what Docker's engine derives: swap from memory, the size of /dev/shm."""
    if host.memory > 0 and host.memory_swap == 0:
        host.memory_swap = host.memory * 2
    if not host.shm_size:
        host.shm_size = SHM_SIZE_BYTES


def check_process_limits(host: HostConfig) -> None:
    """Raise unless the limits of the process and of /dev/shm make sense."""
    if host.shm_size < 0:
        raise InvalidParameterError("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidParameterError(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    for limit in host.ulimits:
        if limit.name not in ULIMITS:
            raise InvalidParameterError(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
            raise InvalidParameterError(
                "ulimit soft limit must be less than or equal to hard limit: "
                f"{limit.soft} > {limit.hard}"
            )


ULIMITS: Final = frozenset(
    (
        "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
        "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
    )
)  # fmt: skip
"""The names of ``--ulimit``; a container's own list and the engine's default use the same."""


def _check_memory(
    limits: Resources, facts: KernelFacts, discard: _Discard, *, update: bool
) -> None:
    if limits.memory < 0 or 0 < limits.memory < _MIN_MEMORY:
        raise InvalidParameterError("Minimum memory limit allowed is 6MB")
    if limits.memory and not facts.memory:
        limits.memory, limits.memory_swap = 0, -1
        discard(
            f"Your kernel does not support memory limit capabilities {_NOT_MOUNTED}. "
            "Limitation discarded."
        )
    if limits.memory and limits.memory_swap != -1 and not facts.swap:
        limits.memory_swap = -1
        discard(
            f"Your kernel does not support swap limit capabilities {_NOT_MOUNTED}. "
            "Memory limited without swap."
        )
    if 0 < limits.memory_swap < limits.memory:
        raise InvalidParameterError(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if limits.memory_swap > 0 and limits.memory == 0 and not update:
        raise InvalidParameterError(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    _check_swappiness(limits, facts, discard)
    if limits.memory_reservation > 0 and not facts.reservation:
        limits.memory_reservation = 0
        discard(
            f"Your kernel does not support memory soft limit capabilities {_NOT_MOUNTED}. "
            "Limitation discarded."
        )
    if limits.memory_reservation < 0 or 0 < limits.memory_reservation < _MIN_MEMORY:
        raise InvalidParameterError("Minimum memory reservation allowed is 6MB")
    if 0 < limits.memory < limits.memory_reservation:
        raise InvalidParameterError(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _check_swappiness(limits: Resources, facts: KernelFacts, discard: _Discard) -> None:
    # Old clients send -1 for "not asked for".
    if limits.memory_swappiness == -1:
        limits.memory_swappiness = None
    if limits.memory_swappiness is None:
        return
    if not facts.swappiness:
        limits.memory_swappiness = None
        discard(
            f"Your kernel does not support memory swappiness capabilities {_NOT_MOUNTED}. "
            "Memory swappiness discarded."
        )
    elif not 0 <= limits.memory_swappiness <= 100:
        raise InvalidParameterError(
            f"Invalid value: {limits.memory_swappiness}, valid memory swappiness range is 0-100"
        )


def _check_oom_and_pids(limits: Resources, facts: KernelFacts, discard: _Discard) -> None:
    if limits.oom_kill_disable and not facts.oom_kill_disable:
        discard("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        limits.oom_kill_disable = None
    if limits.oom_kill_disable and limits.memory == 0:
        discard(
            "OOM killer is disabled for the container, but no memory limit is set, this can "
            "result in the system running out of resources."
        )
    if limits.pids_limit is not None and limits.pids_limit > 0 and not facts.pids:
        limits.pids_limit = None
        discard(
            f"Your kernel does not support PIDs limit capabilities {_NOT_MOUNTED}. "
            "PIDs limit discarded."
        )


def _check_cpu(limits: Resources, facts: KernelFacts, discard: _Discard) -> None:
    _check_nano_cpus(limits, facts)
    if limits.cpu_shares < 0:
        raise InvalidParameterError(f"invalid CPU shares ({limits.cpu_shares}): value must be >= 0")
    if limits.cpu_shares and not facts.cpu_shares:
        limits.cpu_shares = 0
        discard(f"Your kernel does not support CPU shares {_NOT_MOUNTED}. Shares discarded.")
    _check_quota(limits, facts, discard)
    if limits.cpu_percent > 0:
        limits.cpu_percent = 0
        discard("linux does not support CPU percent. Percent discarded.")
    period, runtime = limits.cpu_realtime_period, limits.cpu_realtime_runtime
    if (period or runtime) and not facts.cpu_realtime:
        raise InvalidParameterError("kernel does not support CPU real-time scheduler")
    if period and runtime > period:
        raise InvalidParameterError(
            "cpu real-time runtime cannot be higher than cpu real-time period"
        )


def _check_nano_cpus(limits: Resources, facts: KernelFacts) -> None:
    if limits.nano_cpus > 0 and limits.cpu_period > 0:
        raise InvalidParameterError(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set"
        )
    if limits.nano_cpus > 0 and limits.cpu_quota > 0:
        raise InvalidParameterError(
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
        )
    if limits.nano_cpus and not facts.cpu_cfs:
        raise InvalidParameterError(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler "
            f"{_NOT_MOUNTED}"
        )
    if not 0 <= limits.nano_cpus <= facts.processors * 1_000_000_000:
        raise InvalidParameterError(
            f"range of CPUs is from 0.01 to {facts.processors}.00, as there are only "
            f"{facts.processors} CPUs available"
        )


def _check_quota(limits: Resources, facts: KernelFacts, discard: _Discard) -> None:
    if (limits.cpu_period or limits.cpu_quota) and not facts.cpu_cfs:
        limits.cpu_period = limits.cpu_quota = 0
        discard("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
    if limits.cpu_period and not 1000 <= limits.cpu_period <= 1_000_000:
        raise InvalidParameterError(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < limits.cpu_quota < 1000:
        raise InvalidParameterError("CPU cfs quota can not be less than 1ms (i.e. 1000)")


def _check_cpusets(limits: Resources, facts: KernelFacts, discard: _Discard) -> None:
    if (limits.cpuset_cpus or limits.cpuset_mems) and not facts.cpuset:
        limits.cpuset_cpus = limits.cpuset_mems = ""
        discard(f"Your kernel does not support cpuset {_NOT_MOUNTED}. Cpuset discarded.")
    for what, short, asked, available in (
        ("CPUs", "cpus", limits.cpuset_cpus, facts.cpus),
        ("memory nodes", "mems", limits.cpuset_mems, facts.mems),
    ):
        if not asked:
            continue
        try:
            wanted = parse_number_list(asked)
        except ValueError:
            raise InvalidParameterError(
                f"Invalid value {asked} for cpuset {short}: invalid format: {asked}"
            ) from None
        if not wanted <= parse_number_list(available):
            raise InvalidParameterError(
                f"Requested {what} are not available - requested {asked}, available: {available}"
            )


def parse_number_list(text: str) -> set[int]:
    """Return the numbers of a kernel list such as ``0-3,7``.

    Raises:
        ValueError: It is no such list.
    """
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (not dash or last.isdecimal())):
            raise ValueError(f"not a list of numbers: {part!r}")
        low, high = int(first), int(last or first)
        if high < low or high > _MAX_NUMBER:
            raise ValueError(f"not a list of numbers: {part!r}")
        numbers.update(range(low, high + 1))
    return numbers


_MAX_NUMBER: Final = 8191


def _check_block_io(limits: Resources, facts: KernelFacts, discard: _Discard) -> None:
    if limits.blkio_weight and not facts.blkio_weight:
        limits.blkio_weight = 0
        discard(f"Your kernel does not support Block I/O weight {_NOT_MOUNTED}. Weight discarded.")
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidParameterError("Range of blkio weight is from 10 to 1000")
    if limits.io_maximum_bandwidth or limits.io_maximum_iops:
        raise InvalidParameterError(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        )
    if limits.blkio_weight_device and not facts.blkio_weight_device:
        limits.blkio_weight_device = []
        discard(
            f"Your kernel does not support Block I/O weight_device {_NOT_MOUNTED}. "
            "Weight-device discarded."
        )
    for weight in limits.blkio_weight_device:
        if not 10 <= weight.weight <= 1000:
            raise InvalidParameterError(
                f"Range of blkio weight is from 10 to 1000, not {weight.weight} ({weight.path})"
            )
    if facts.blkio_throttle:
        return
    for field, text in _THROTTLES.items():
        if getattr(limits, field):
            setattr(limits, field, [])
            discard(f"Your kernel does not support {text} {_NOT_MOUNTED}. Limit discarded.")


_THROTTLES: Final = {
    "blkio_device_read_bps": "BPS Block I/O read limit",
    "blkio_device_write_bps": "BPS Block I/O write limit",
    "blkio_device_read_iops": "IOPS Block read limit",
    "blkio_device_write_iops": "IOPS Block write limit",
}
