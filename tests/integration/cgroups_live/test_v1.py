import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError
from kedge.lib.ids import new_id
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime.cgroups import Cgroup, make_cgroup
from kedge.runtime.cgroups import directories as cgroup_directories
from tests.integration.cgroups_live.processes import (
    HELD_BYTES,
    ask,
    fork_into,
    fork_once,
    open_errors,
    sleeper,
    spinner,
    wait_until,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not os.path.isdir("/sys/fs/cgroup/memory"), reason="this host has no cgroup v1"
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


def test_limits_are_the_kernel_s_and_processes_are_inside(cgroup: Cgroup) -> None:
    cgroup.create(
        parse_resources(
            {
                "memory": {"limit": 64 * MIB, "swap": 64 * MIB, "swappiness": 0},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
                "pids": {"limit": 50},
            }
        )
    )
    made = cgroup.directories()
    shown = {
        name: Path(made[name.split(".")[0]], name).read_text().strip()
        for name in ("memory.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpuset.cpus")
    }
    assert shown == {
        "memory.limit_in_bytes": str(64 * MIB),
        "cpu.shares": "512",
        "cpu.cfs_quota_us": "50000",
        "cpuset.cpus": "0",
    }
    inside = ask(cgroup, lambda: Path("/proc/self/cgroup").read_text())
    joined = {line.split(":")[1] for line in inside.splitlines() if line.endswith(cgroup.path)}
    assert joined == set(made)
    assert cgroup.stats().pids.limit == 50
    assert cgroup.stats().memory.limit == 64 * MIB


def test_memory_grows_and_shrinks_with_its_swap_limit(cgroup: Cgroup) -> None:
    def limits() -> list[str]:
        directory = cgroup.directories()["memory"]
        return [
            Path(directory, f"memory.{name}limit_in_bytes").read_text().strip()
            for name in ("", "memsw.")
        ]

    cgroup.create(parse_resources({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}))
    for size in (128, 16, 256):
        cgroup.update(parse_resources({"memory": {"limit": size * MIB, "swap": size * MIB}}))
        assert limits() == [str(size * MIB)] * 2
    cgroup.update(parse_resources({"memory": {"limit": -1}}))
    assert cgroup.stats().memory.limit == -1


def test_too_much_memory_is_killed_and_counted(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}))
    pid = fork_into(cgroup, lambda: bytearray(64 * MIB))
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert cgroup.oom_kills() == 1


def test_too_many_processes_are_refused(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({"pids": {"limit": 1}}))
    assert ask(cgroup, fork_once) == "refused"


def test_devices_are_closed_but_for_the_usual_ones(cgroup: Cgroup) -> None:
    cgroup.create(
        parse_resources(
            {"devices": [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]}
        )
    )
    attempts = (
        ("/dev/null", os.O_RDWR),
        ("/dev/zero", os.O_RDONLY),
        ("/dev/kmsg", os.O_RDONLY),
        ("/dev/kmsg", os.O_WRONLY),
        ("/dev/loop-control", os.O_RDONLY),
    )
    words = ask(cgroup, lambda: open_errors(*attempts)).split()
    assert words == ["ok", "ok", "ok", "PermissionError", "PermissionError"]
    cgroup.update(parse_resources({"devices": []}))
    assert ask(cgroup, lambda: open_errors(("/dev/kmsg", os.O_RDONLY))) == "PermissionError"


def test_frozen_processes_do_not_run_and_die_when_killed(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with sleeper(cgroup) as pid:
        cgroup.freeze()
        assert cgroup.is_frozen()
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "a frozen process handles no signal"
        cgroup.kill()
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert not cgroup.is_frozen()


def test_deleting_with_processes_inside_names_them(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_directories, "_REMOVE_WITHIN_S", 0.02)
    cgroup.create(parse_resources({}))
    with sleeper(cgroup) as pid, pytest.raises(ConflictError, match=rf"processes: {pid}"):
        cgroup.delete()


def test_delete_takes_what_the_container_made_below(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    for directory in cgroup.directories().values():
        Path(directory, "inner/deeper").mkdir(parents=True)
    cgroup.delete()
    assert not cgroup.exists()


def test_update_brings_running_processes_into_a_new_controller(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with sleeper(cgroup) as pid:
        cgroup.update(parse_resources({"cpu": {"cpus": "0"}}))
        assert os.sched_getaffinity(pid) == {0}


def test_time_is_accounted(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with spinner(cgroup):
        # The kernel charges a process when it ticks or gives the processor away, not at once.
        wait_until(lambda: cgroup.stats().cpu.usage_ns > 0)
        wait_until(lambda: cgroup.stats().memory.usage > HELD_BYTES // 2)
        stats = cgroup.stats()
    assert stats.pids.current == 1
    assert "total_inactive_file" in stats.memory.stat
