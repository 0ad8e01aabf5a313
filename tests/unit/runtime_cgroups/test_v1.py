import errno
import os
from pathlib import Path

import pytest

from kedge.errdefs import (
    InvalidParameterError,
    NotSupportedError,
    SystemFailureError,
    UnavailableError,
)
from kedge.lib.jsontypes import JsonObject
from kedge.oci.runtime_spec_resources import Resources, parse_resources
from kedge.runtime.cgroups import BlkioEntry, Cgroup, make_cgroup, v1_resources
from tests.unit.runtime_cgroups.fake_host import FakeHost


def make(host: FakeHost, path: str = "kedge/web") -> Cgroup:
    return make_cgroup(path, root=str(host.root), proc=str(host.proc))


def create(host: FakeHost, document: JsonObject) -> Cgroup:
    cgroup = make(host)
    cgroup.create(parse_resources(document))
    return cgroup


def test_only_what_limits_or_accounts_gets_a_directory(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {})
    assert cgroup.version == 1
    assert sorted(cgroup.directories()) == sorted(
        ["cpu", "cpuacct", "memory", "devices", "freezer", "pids", "blkio"]
    )
    own = v1_host.root / f"cpuset/{cgroup.path}"
    assert not own.exists()


def test_who_has_no_cpuset_is_shown_one_without_processes(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {})
    shared = v1_host.root / "cpuset/kedge/shared"
    assert cgroup.shown_directories() == {**cgroup.directories(), "cpuset": str(shared)}
    assert (shared / "cpuset.cpus").read_text().strip() == "0-3"
    cgroup.delete()
    assert shared.exists()


def test_who_has_a_cpuset_is_shown_that(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {"cpu": {"cpus": "0"}})
    assert cgroup.shown_directories() == cgroup.directories()
    assert cgroup.directories()["cpuset"].endswith(cgroup.path)


def test_a_privileged_container_needs_no_devices_directory(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {"devices": [{"allow": True, "access": "rwm"}]})
    assert "devices" not in cgroup.directories()


def test_co_mounted_controllers_share_a_directory(v1_host: FakeHost) -> None:
    made = create(v1_host, {}).directories()
    assert made["cpu"] == made["cpuacct"] == f"{v1_host.root}/cpu,cpuacct/kedge/web"


def test_limits_reach_their_files(v1_host: FakeHost) -> None:
    create(
        v1_host,
        {
            "memory": {
                "limit": 1000,
                "swap": 2000,
                "reservation": 500,
                "swappiness": 0,
                "disableOOMKiller": True,
                "kernelTCP": 99,
            },
            "cpu": {
                "shares": 512,
                "quota": 50000,
                "period": 20000,
                "burst": 10,
                "realtimePeriod": 1000,
                "realtimeRuntime": 900,
                "idle": 1,
                "cpus": "0-1",
                "mems": "0",
            },
            "pids": {"limit": 42},
            "blockIO": {
                "weight": 300,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 200}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 100}],
            },
        },
    )
    written = {
        "memory/kedge/web/memory.limit_in_bytes": "1000",
        "memory/kedge/web/memory.memsw.limit_in_bytes": "2000",
        "memory/kedge/web/memory.soft_limit_in_bytes": "500",
        "memory/kedge/web/memory.swappiness": "0",
        "memory/kedge/web/memory.oom_control": "1",
        "memory/kedge/web/memory.kmem.tcp.limit_in_bytes": "99",
        "cpu/kedge/web/cpu.shares": "512",
        "cpu/kedge/web/cpu.cfs_quota_us": "50000",
        "cpu/kedge/web/cpu.cfs_period_us": "20000",
        "cpu/kedge/web/cpu.cfs_burst_us": "10",
        "cpu/kedge/web/cpu.rt_period_us": "1000",
        "cpu/kedge/web/cpu.rt_runtime_us": "900",
        "cpu/kedge/web/cpu.idle": "1",
        "cpuset/kedge/web/cpuset.cpus": "0-1",
        "pids/kedge/web/pids.max": "42",
        "blkio/kedge/web/blkio.bfq.weight": "300",
        "blkio/kedge/web/blkio.bfq.weight_device": "8:0 200",
        "blkio/kedge/web/blkio.throttle.read_bps_device": "8:0 1048576",
        "blkio/kedge/web/blkio.throttle.write_iops_device": "8:16 100",
    }
    # The fake's files are not truncated by a write, as the kernel's show only the new value.
    assert {name: v1_host.read(name)[: len(text)] for name, text in written.items()} == written


def test_an_empty_cpuset_is_filled_from_above_at_every_level(v1_host: FakeHost) -> None:
    create(v1_host, {"cpu": {"cpus": "1"}})
    assert v1_host.read("cpuset/kedge/cpuset.cpus") == "0-3"
    assert v1_host.read("cpuset/kedge/web/cpuset.mems") == "0"
    assert v1_host.read("cpuset/kedge/web/cpuset.cpus").startswith("1")


@pytest.mark.parametrize(
    ("present", "limit", "swap", "order"),
    [
        (100, 200, 400, ["memsw", "limit"]),
        (1000, 200, 400, ["limit", "memsw"]),
        (100, 200, -1, ["memsw", "limit"]),
        (100, -1, None, ["memsw", "limit"]),
        (100, 50, None, ["limit"]),
        (100, None, 400, ["memsw"]),
        (9223372036854771712, 200, 400, ["limit", "memsw"]),
    ],
)
def test_memory_and_swap_are_written_in_the_order_the_kernel_takes(
    v1_host: FakeHost,
    monkeypatch: pytest.MonkeyPatch,
    present: int,
    limit: int | None,
    swap: int | None,
    order: list[str],
) -> None:
    cgroup = create(v1_host, {})
    directory = Path(cgroup.directories()["memory"])
    (directory / "memory.limit_in_bytes").write_text(f"{present}\n")
    written: list[str] = []

    def record(path: str, value: str) -> None:
        assert value in {str(limit), str(swap), "-1"}
        written.append("memsw" if "memsw" in path else "limit")

    monkeypatch.setattr(v1_resources, "write_limit", record)
    monkeypatch.setattr(v1_resources, "write_value", record)
    cgroup.update(parse_resources({"memory": {"limit": limit, "swap": swap}}))
    assert written == order


def test_swap_below_memory_is_refused_and_leaves_nothing(v1_host: FakeHost) -> None:
    with pytest.raises(InvalidParameterError, match="must not be smaller"):
        create(v1_host, {"memory": {"limit": 200, "swap": 100}})
    assert not make(v1_host).exists()


def test_a_memory_limit_below_the_use_says_how_much_is_used(
    v1_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, value: str) -> None:
        raise OSError(errno.EBUSY, "busy", path)

    monkeypatch.setattr(v1_resources, "write_value", refuse)
    with pytest.raises(UnavailableError, match="1000 bytes: 4096 bytes are in use"):
        create(v1_host, {"memory": {"limit": 1000}})


def test_a_period_the_old_quota_does_not_fit_is_written_again_after_the_quota(
    v1_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    def write(path: str, value: str) -> None:
        name = os.path.basename(path)
        attempts.append(name)
        if name == "cpu.cfs_period_us" and "cpu.cfs_quota_us" not in attempts:
            raise OSError(errno.EINVAL, "Invalid argument", path)
        assert value

    cgroup = create(v1_host, {})
    monkeypatch.setattr(v1_resources, "write_value", write)
    monkeypatch.setattr(v1_resources, "write_limit", write)
    cgroup.update(parse_resources({"cpu": {"period": 5000, "quota": 2000}}))
    assert attempts == ["cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_period_us"]


def test_the_own_cgroup_is_used_where_the_root_is_refused(v1_host: FakeHost) -> None:
    v1_host.refused.add(f"{v1_host.root}/memory")
    (v1_host.root / "memory/job/7").mkdir(parents=True)
    cgroup = create(v1_host, {})
    made = cgroup.directories()
    assert made["memory"] == f"{v1_host.root}/memory/job/7/kedge/web"
    assert made["pids"] == f"{v1_host.root}/pids/kedge/web"
    assert make(v1_host).directories() == made, "another process finds it again"


def test_a_refusal_everywhere_is_one_clear_line(v1_host: FakeHost) -> None:
    v1_host.refused.add(f"{v1_host.root}/pids")
    with pytest.raises(SystemFailureError, match="pids/kedge/web: Permission denied"):
        create(v1_host, {})
    assert not make(v1_host).exists()


def test_a_limit_without_its_controller_is_refused(v1_host: FakeHost) -> None:
    with pytest.raises(NotSupportedError, match="controller hugetlb is not mounted"):
        create(v1_host, {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})


def test_unified_needs_v2(v1_host: FakeHost) -> None:
    with pytest.raises(NotSupportedError, match="needs cgroup v2"):
        create(v1_host, {"unified": {"memory.high": "1"}})


def test_a_missing_file_names_the_feature(v1_host: FakeHost) -> None:
    document: JsonObject = {
        "blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 1}]}
    }
    with pytest.raises(NotSupportedError, match=r"no blkio\.throttle\.read_iops_device"):
        create(v1_host, document)


def test_joining_writes_the_cheap_file_once_per_tree(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {})
    cgroup.join_self()
    for directory in cgroup.directories().values():
        assert Path(directory, "tasks").read_text() == "0"
        assert Path(directory, "cgroup.procs").read_text() == ""
    assert cgroup.join_fd() == -1


def test_update_makes_the_controller_that_was_not_needed(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {})
    cgroup.update(parse_resources({"cpu": {"cpus": "2"}}))
    assert v1_host.read("cpuset/kedge/web/cpuset.cpus").startswith("2")


def test_counters(v1_host: FakeHost) -> None:
    stats = create(v1_host, {}).stats()
    assert stats.version == 1
    assert (stats.cpu.usage_ns, stats.cpu.user_ns, stats.cpu.system_ns) == (30000, 20000, 10000)
    assert stats.cpu.percpu_ns == (25000, 5000)
    assert (stats.cpu.periods, stats.cpu.throttled_periods, stats.cpu.throttled_ns) == (5, 2, 7000)
    assert (stats.memory.usage, stats.memory.max_usage, stats.memory.failcnt) == (4096, 8192, 3)
    assert (stats.memory.limit, stats.memory.oom_kills) == (-1, 2)
    assert stats.memory.stat["total_inactive_file"] == 512
    assert stats.pids == (3, -1)
    assert stats.io_service_bytes == (BlkioEntry(8, 0, "Read", 10), BlkioEntry(8, 0, "Write", 20))
    assert stats.io_serviced[0].value == 1


def test_a_cgroup_that_is_not_there(v1_host: FakeHost) -> None:
    cgroup = make(v1_host)
    assert not cgroup.exists()
    assert cgroup.pids() == []
    assert cgroup.oom_kills() == 0
    assert not cgroup.is_frozen()
    cgroup.kill()
    cgroup.delete()
    with pytest.raises(NotSupportedError, match="no freezer"):
        cgroup.freeze()


def test_freezing_waits_for_the_kernel_and_thawing_undoes_it(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {})
    cgroup.freeze()
    assert cgroup.is_frozen()
    cgroup.thaw()
    assert not cgroup.is_frozen()


def test_pids_come_from_below_too(v1_host: FakeHost) -> None:
    cgroup = create(v1_host, {})
    directory = Path(cgroup.directories()["freezer"])
    (directory / "cgroup.procs").write_text("12\n0\n10\n")
    (directory / "inner").mkdir()
    (directory / "inner/cgroup.procs").write_text("11\n12\n")
    assert cgroup.pids() == [10, 11, 12]


def test_defaults_need_nothing(v1_host: FakeHost) -> None:
    cgroup = make(v1_host)
    cgroup.create(Resources())
    assert "devices" in cgroup.directories(), "no rules still means the safe default"
