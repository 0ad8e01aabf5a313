from dataclasses import replace

import pytest

from kedge.api.types.config import (
    HostConfig,
    Resources,
    ThrottleDevice,
    Ulimit,
    WeightDevice,
)
from kedge.engine.kernelfacts import KernelFacts
from kedge.engine.limits import (
    check_limits,
    check_process_limits,
    complete_limits,
    parse_number_list,
)
from kedge.errdefs import InvalidParameterError

ALL = KernelFacts(processors=2, cpus="0-1", mems="0")
NONE = KernelFacts(
    memory=False,
    swap=False,
    swappiness=False,
    reservation=False,
    oom_kill_disable=False,
    pids=False,
    cpu_shares=False,
    cpu_cfs=False,
    cpu_realtime=False,
    cpuset=False,
    blkio_weight=False,
    blkio_weight_device=False,
    blkio_throttle=False,
)
GIB = 1 << 30


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Resources(memory=1024), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=-5), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=GIB, memory_swap=1 << 20), "larger than memory limit"),
        (Resources(memory_swap=GIB), "always set the Memory limit"),
        (Resources(memory_swappiness=101), "memory swappiness range is 0-100"),
        (Resources(memory_reservation=5), "Minimum memory reservation allowed is 6MB"),
        (Resources(memory=GIB, memory_reservation=2 * GIB), "less than memory reservation"),
        (Resources(nano_cpus=1, cpu_quota=1000), "Nano CPUs and CPU Quota cannot both be set"),
        (Resources(nano_cpus=1, cpu_period=1000), "Nano CPUs and CPU Period cannot both be set"),
        (Resources(nano_cpus=3_000_000_000), "from 0.01 to 2.00, as there are only 2 CPUs"),
        (Resources(nano_cpus=-1), "range of CPUs"),
        (Resources(cpu_shares=-1), "invalid CPU shares"),
        (Resources(cpu_period=10), "less than 1ms"),
        (Resources(cpu_period=2_000_000), "larger than 1s"),
        (Resources(cpu_quota=10), "cfs quota can not be less than 1ms"),
        (Resources(cpu_realtime_runtime=2, cpu_realtime_period=1), "higher than cpu real-time"),
        (Resources(cpuset_cpus="a"), "Invalid value a for cpuset cpus"),
        (Resources(cpuset_cpus="1-0"), "Invalid value 1-0 for cpuset cpus"),
        (Resources(cpuset_cpus="0-99999999"), "Invalid value"),
        (Resources(cpuset_cpus="0-7"), "requested 0-7, available: 0-1"),
        (Resources(cpuset_mems="1"), "memory nodes are not available - requested 1, available: 0"),
        (Resources(blkio_weight=5), "Range of blkio weight is from 10 to 1000"),
        (Resources(blkio_weight_device=[WeightDevice(path="/dev/x", weight=1)]), "10 to 1000"),
        (Resources(io_maximum_iops=1), "Invalid QoS settings"),
    ],
)
def test_what_can_never_work(limits: Resources, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_limits(limits, ALL)


def test_what_the_kernel_has_gives_no_warning() -> None:
    limits = Resources(
        memory=GIB, memory_swap=-1, cpu_shares=5, cpuset_cpus="0,1", pids_limit=5, blkio_weight=10
    )
    assert check_limits(limits, ALL) == []
    assert limits.cpu_shares == 5


@pytest.mark.parametrize(
    ("limits", "text", "field"),
    [
        (Resources(memory=GIB), "memory limit capabilities", "memory"),
        (Resources(memory_swappiness=5), "memory swappiness", "memory_swappiness"),
        (Resources(memory_reservation=GIB), "memory soft limit", "memory_reservation"),
        (Resources(oom_kill_disable=True), "OomKillDisable discarded", "oom_kill_disable"),
        (Resources(pids_limit=5), "PIDs limit discarded", "pids_limit"),
        (Resources(cpu_shares=5), "Shares discarded", "cpu_shares"),
        (Resources(cpu_quota=5000), "period/quota discarded", "cpu_quota"),
        (Resources(cpuset_cpus="0"), "Cpuset discarded", "cpuset_cpus"),
        (Resources(blkio_weight=50), "Weight discarded", "blkio_weight"),
        (
            Resources(blkio_weight_device=[WeightDevice(path="/dev/x", weight=50)]),
            "Weight-device discarded",
            "blkio_weight_device",
        ),
        (
            Resources(blkio_device_read_bps=[ThrottleDevice(path="/dev/x", rate=50)]),
            "BPS Block I/O read limit",
            "blkio_device_read_bps",
        ),
    ],
)
def test_what_the_kernel_lacks_is_discarded_with_a_warning(
    limits: Resources, text: str, field: str
) -> None:
    warnings = check_limits(limits, NONE)
    assert len(warnings) == 1
    assert text in warnings[0]
    assert not getattr(limits, field)


def test_swap_alone_may_be_missing() -> None:
    limits = Resources(memory=GIB)
    assert "Memory limited without swap" in check_limits(limits, replace(ALL, swap=False))[0]
    assert (limits.memory, limits.memory_swap) == (GIB, -1)


def test_cpus_need_a_scheduler_that_limits_them() -> None:
    with pytest.raises(InvalidParameterError, match="NanoCPUs can not be set"):
        check_limits(Resources(nano_cpus=1_000_000_000), NONE)
    with pytest.raises(InvalidParameterError, match="does not support CPU real-time"):
        check_limits(Resources(cpu_realtime_runtime=1), NONE)


def test_kernel_memory_is_ignored_and_said() -> None:
    limits = Resources(kernel_memory=GIB)
    assert "deprecated" in check_limits(limits, ALL)[0]
    assert limits.kernel_memory == 0


def test_old_clients_mean_nothing_by_a_swappiness_of_minus_one() -> None:
    limits = Resources(memory_swappiness=-1)
    assert check_limits(limits, NONE) == []
    assert limits.memory_swappiness is None


def test_no_oom_killer_without_a_limit_is_dangerous() -> None:
    assert "no memory limit is set" in check_limits(Resources(oom_kill_disable=True), ALL)[0]


def test_swap_may_be_set_alone_in_an_update() -> None:
    assert check_limits(Resources(memory_swap=GIB), ALL, update=True) == []


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (HostConfig(shm_size=-1), "SHM size can not be less than 0"),
        (HostConfig(oom_score_adj=2000), r"range for oom score adj is \[-1000, 1000\]"),
        (HostConfig(ulimits=[Ulimit(name="files", soft=1, hard=1)]), "invalid ulimit type: files"),
        (HostConfig(ulimits=[Ulimit(name="nofile", soft=2, hard=1)]), "less than or equal to hard"),
        (HostConfig(ulimits=[Ulimit(name="nofile", soft=-1, hard=1)]), "less than or equal"),
    ],
)
def test_limits_of_the_process(host: HostConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_process_limits(host)


def test_what_docker_derives() -> None:
    host = HostConfig(memory=GIB)
    complete_limits(host)
    assert (host.memory_swap, host.shm_size) == (2 * GIB, 64 << 20)
    fixed = HostConfig(memory=GIB, memory_swap=-1, shm_size=4096)
    complete_limits(fixed)
    assert (fixed.memory_swap, fixed.shm_size) == (-1, 4096)


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set[int]()), ("3", {3}), ("0-2,5", {0, 1, 2, 5}), ("1,1", {1})]
)
def test_number_lists(text: str, numbers: set[int]) -> None:
    assert parse_number_list(text) == numbers


@pytest.mark.parametrize("text", [",", "-", "1-", "a", "3-1", "1,,2", " 1"])
def test_bad_number_lists(text: str) -> None:
    with pytest.raises(ValueError, match="not a list of numbers"):
        parse_number_list(text)
