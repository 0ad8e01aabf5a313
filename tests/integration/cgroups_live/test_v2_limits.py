"""What only a tree with all controllers shows: a host of pure cgroup v2 (``make test-vm``)."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.errdefs import InvalidParameterError, NotSupportedError, UnavailableError
from kedge.lib.ids import new_id
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime.cgroups import Cgroup, make_cgroup
from kedge.runtime.cgroups.oom_alarm import OomAlarm
from tests.integration.cgroups_live.processes import (
    HELD_BYTES,
    ask,
    ask_outside,
    fork_into,
    fork_once,
    sleeper,
    spinner,
    wait_until,
)

if TYPE_CHECKING:
    from kedge.lib.jsontypes import Json

_ROOT = Path("/sys/fs/cgroup")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not (_ROOT / "cgroup.controllers").exists(), reason="this host has no pure cgroup v2"
    ),
]

MIB = 1 << 20


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    made = make_cgroup(f"kedge-test-{new_id()[:12]}/web")
    yield made
    made.kill()
    made.delete()
    made.delete_empty_ancestors()


def shown(cgroup: Cgroup, *names: str) -> list[str]:
    return [Path(cgroup.directories()[""], name).read_text().strip() for name in names]


def test_limits_are_the_kernel_s_and_processes_are_inside(cgroup: Cgroup) -> None:
    cgroup.create(
        parse_resources(
            {
                "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
                "pids": {"limit": 50},
                "unified": {"memory.high": str(48 * MIB), "memory.oom.group": "1"},
            }
        )
    )
    assert shown(cgroup, "memory.max", "memory.swap.max", "memory.low", "memory.high") == [
        str(size * MIB) for size in (64, 32, 32, 48)
    ]
    assert shown(cgroup, "cpu.weight", "cpu.max", "cpuset.cpus.effective", "pids.max") == [
        "59", "50000 100000", "0", "50",
    ]  # fmt: skip
    assert shown(cgroup, "cpuset.mems", "memory.oom.group") == ["0", "1"]
    assert ask(cgroup, lambda: Path("/proc/self/cgroup").read_text()) == f"0::/{cgroup.path}\n"
    assert cgroup.stats().pids.limit == 50
    assert cgroup.stats().memory.limit == 64 * MIB


def test_memory_grows_and_shrinks_with_its_swap_limit(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}))
    for size in (128, 16, 256):
        cgroup.update(parse_resources({"memory": {"limit": size * MIB, "swap": size * MIB}}))
        assert shown(cgroup, "memory.max", "memory.swap.max") == [str(size * MIB), "0"]
    cgroup.update(parse_resources({"memory": {"limit": -1}}))
    assert shown(cgroup, "memory.max", "memory.swap.max") == ["max", "max"]


def test_too_much_memory_is_killed_told_and_counted(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}))
    alarm = OomAlarm(cgroup.directories())
    try:
        assert not alarm.take()
        _, status = os.waitpid(fork_into(cgroup, lambda: bytearray(64 * MIB)), 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert select.select([alarm.fd], [], [], 60)[0]
        assert alarm.take()
    finally:
        alarm.close()
    assert cgroup.oom_kills() == 1
    assert cgroup.stats().memory.oom_kills == 1
    assert cgroup.stats().memory.failcnt > 0


def test_too_many_processes_are_refused(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({"pids": {"limit": 1}}))
    assert ask(cgroup, fork_once) == "refused"


def test_a_frozen_process_handles_nothing_until_it_is_thawed(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    reader, writer = os.pipe()
    pid = fork_into(cgroup, lambda: os.read(reader, 1))
    wait_until(lambda: pid in cgroup.pids())
    cgroup.freeze()
    os.write(writer, b"x")
    assert "frozen 1" in shown(cgroup, "cgroup.events")[0]
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    cgroup.thaw()
    assert os.waitpid(pid, 0)[1] == 0
    assert not cgroup.is_frozen()
    os.close(reader)
    os.close(writer)


def test_update_brings_running_processes_into_a_new_controller(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with sleeper(cgroup) as pid:
        cgroup.update(parse_resources({"cpu": {"cpus": "0"}}))
        assert os.sched_getaffinity(pid) == {0}


def test_a_limit_below_what_is_in_use_is_refused_where_the_caller_asks_for_that(
    cgroup: Cgroup,
) -> None:
    cgroup.create(parse_resources({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}))
    with sleeper(cgroup):
        wait_until(lambda: cgroup.stats().memory.usage > HELD_BYTES // 2)
        with pytest.raises(UnavailableError, match="bytes are in use"):
            cgroup.update(parse_resources({"memory": {"limit": 4096, "checkBeforeUpdate": True}}))
        assert shown(cgroup, "memory.max") == [str(64 * MIB)]


def test_a_refused_limit_leaves_no_cgroup(cgroup: Cgroup) -> None:
    with pytest.raises(InvalidParameterError, match=r"cpuset\.cpus"):
        cgroup.create(parse_resources({"cpu": {"cpus": "4000"}}))
    assert not cgroup.exists()


def test_input_and_output_are_limited_by_device(cgroup: Cgroup) -> None:
    device = os.stat("/dev/loop0").st_rdev
    major, minor = os.major(device), os.minor(device)
    rate: list[Json] = [{"major": major, "minor": minor, "rate": 1 << 20}]
    cgroup.create(
        parse_resources(
            {"blockIO": {"weight": 300, "throttleReadBpsDevice": rate,
                         "throttleWriteIOPSDevice": rate}}
        )
    )  # fmt: skip
    assert shown(cgroup, "io.max", "io.weight") == [
        f"{major}:{minor} rbps=1048576 wbps=max riops=max wiops=1048576", "default 2930",
    ]  # fmt: skip
    weight: list[Json] = [{"major": major, "minor": minor, "weight": 500}]
    with pytest.raises(NotSupportedError, match=rf"switched on for device {major}:{minor}"):
        cgroup.update(parse_resources({"blockIO": {"weightDevice": weight}}))


def test_a_cgroup_whose_container_has_made_its_own_below_is_joined_where_its_init_is(
    cgroup: Cgroup,
) -> None:
    """An init such as systemd, or an engine, moves aside and switches controllers on."""
    cgroup.create(parse_resources({}))
    own = Path(cgroup.directories()[""], "init.scope")
    own.mkdir()
    with sleeper(cgroup) as pid:
        (own / "cgroup.procs").write_text(str(pid))
        (own.parent / "cgroup.subtree_control").write_text("+memory")

        def join(beside: int) -> str:
            cgroup.join_self(beside=beside)
            return Path("/proc/self/cgroup").read_text()

        outside = ask_outside(lambda: join(pid))
        assert outside == f"0::/{cgroup.path}/init.scope\n"
        # Nobody is led out of the container's cgroup.
        assert ask_outside(lambda: join(os.getppid())) == ""


def test_everything_is_accounted(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with spinner(cgroup):
        wait_until(lambda: cgroup.stats().memory.usage > HELD_BYTES // 2)
        wait_until(lambda: cgroup.stats().cpu.usage_ns > 0)
        stats = cgroup.stats()
    assert stats.version == 2
    assert stats.pids.current == 1
    assert stats.memory.usage > 0
    assert stats.memory.max_usage >= stats.memory.usage or stats.memory.max_usage == 0
    assert "inactive_file" in stats.memory.stat
