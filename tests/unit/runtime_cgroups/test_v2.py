import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, NotSupportedError, SystemFailureError, UnavailableError
from kedge.lib.jsontypes import JsonObject
from kedge.oci.runtime_spec_resources import DeviceRule, parse_resources
from kedge.runtime.cgroups import BlkioEntry, Cgroup, device_filter, make_cgroup, v2
from kedge.runtime.cgroups.files import write_value
from tests.unit.runtime_cgroups.fake_host import FakeHost


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[DeviceRule]]:
    programs: dict[str, Sequence[DeviceRule]] = {}

    def install(directory: str, rules: Sequence[DeviceRule]) -> None:
        programs[directory] = rules

    monkeypatch.setattr(device_filter, "install", install)
    return programs


def make(host: FakeHost, path: str = "kedge/web") -> Cgroup:
    return make_cgroup(path, root=str(host.root), proc=str(host.proc))


def create(host: FakeHost, document: JsonObject) -> Cgroup:
    cgroup = make(host)
    cgroup.create(parse_resources(document))
    return cgroup


def test_controllers_are_switched_on_at_every_level(v2_host: FakeHost) -> None:
    cgroup = create(v2_host, {"pids": {"limit": 5}})
    assert cgroup.version == 2
    assert cgroup.directories() == {"": f"{v2_host.root}/kedge/web"}
    assert v2_host.read("cgroup.subtree_control") == "+pids +cpu +io +memory"
    assert v2_host.read("kedge/cgroup.subtree_control") == "+pids +cpu +io +memory"
    assert v2_host.read("kedge/web/cgroup.subtree_control") == ""


def test_what_is_on_already_is_left_alone(v2_host: FakeHost) -> None:
    (v2_host.root / "cgroup.subtree_control").write_text("cpu io memory pids\n")
    create(v2_host, {})
    assert v2_host.read("cgroup.subtree_control") == "cpu io memory pids\n"


def test_limits_reach_their_files(v2_host: FakeHost) -> None:
    create(
        v2_host,
        {
            "memory": {"limit": 1000, "swap": 3000, "reservation": 500, "swappiness": 10},
            "cpu": {
                "shares": 1024,
                "quota": 50000,
                "period": 20000,
                "burst": 10,
                "cpus": "0-1",
                "mems": "0",
            },
            "pids": {"limit": -1},
            "blockIO": {
                "weight": 10,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 64}],
            "unified": {"memory.low": "777"},
        },
    )
    written = {
        "memory.max": "1000",
        "memory.swap.max": "2000",
        "memory.low": "777",
        "cpu.weight": "100",
        "cpu.max": "50000 20000",
        "cpu.max.burst": "10",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
        "pids.max": "max",
        "io.weight": "default 1",
        "io.max": "8:0 rbps=1048576",
        "hugetlb.2MB.max": "64",
        "hugetlb.2MB.rsvd.max": "64",
    }
    assert {
        name: v2_host.read(f"kedge/web/{name}")[: len(text)] for name, text in written.items()
    } == written


def test_a_period_alone_keeps_the_quota(v2_host: FakeHost) -> None:
    cgroup = create(v2_host, {"cpu": {"quota": 5000}})
    (v2_host.root / "kedge/web/cpu.max").write_text("5000 100000\n")
    cgroup.update(parse_resources({"cpu": {"period": 20000}}))
    assert v2_host.read("kedge/web/cpu.max").startswith("5000 20000")


def test_bfq_has_blkio_s_own_scale(v2_host: FakeHost) -> None:
    cgroup = create(v2_host, {})
    (v2_host.root / "kedge/web/io.bfq.weight").write_text("")
    cgroup.update(
        parse_resources(
            {"blockIO": {"weight": 300, "weightDevice": []}, "memory": {"limit": -1, "swap": -1}}
        )
    )
    assert v2_host.read("kedge/web/io.bfq.weight") == "300"
    assert v2_host.read("kedge/web/memory.swap.max").startswith("max")


def test_a_limit_below_the_use_is_refused_when_asked_to_check(v2_host: FakeHost) -> None:
    cgroup = create(v2_host, {})
    with pytest.raises(UnavailableError, match="4096 bytes are in use"):
        cgroup.update(parse_resources({"memory": {"limit": 10, "checkBeforeUpdate": True}}))


def test_devices_become_a_program(
    v2_host: FakeHost, installed: dict[str, Sequence[DeviceRule]]
) -> None:
    cgroup = create(v2_host, {})
    rules = installed[f"{v2_host.root}/kedge/web"]
    assert rules[0] == DeviceRule(allow=False)
    cgroup.update(parse_resources({"pids": {"limit": 3}}))
    assert installed[f"{v2_host.root}/kedge/web"] is rules, "not mentioned, not touched"


def test_a_privileged_container_has_no_program(
    v2_host: FakeHost, installed: dict[str, Sequence[DeviceRule]]
) -> None:
    create(v2_host, {"devices": [{"allow": True}]})
    assert installed == {}


def test_a_limit_without_its_controller_is_refused(v2_host: FakeHost) -> None:
    with pytest.raises(NotSupportedError, match="controller rdma is not available"):
        create(v2_host, {"rdma": {"mlx5": {"hcaHandles": 1}}})
    assert not make(v2_host).exists()


def test_processes_in_the_way_move_into_a_leaf(
    v2_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = v2_host.root
    (root / "cgroup.procs").write_text("77\n")

    def write(path: str, value: str) -> None:
        if path == f"{root}/cgroup.subtree_control" and (root / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, "busy", path)
        if path == f"{root}/kedge-init/cgroup.procs":
            (root / "cgroup.procs").write_text("")
        write_value(path, value)

    monkeypatch.setattr(v2, "write_value", write)
    create(v2_host, {})
    assert v2_host.read("kedge-init/cgroup.procs") == "77"
    assert v2_host.read("cgroup.subtree_control").startswith("+cpu")


def test_processes_of_others_in_the_way_are_an_error(
    v2_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, value: str) -> None:
        if path.endswith("kedge/cgroup.subtree_control"):
            raise OSError(errno.EBUSY, "busy", path)
        write_value(path, value)

    monkeypatch.setattr(v2, "write_value", write)
    with pytest.raises(SystemFailureError, match="processes live in it"):
        create(v2_host, {})
    assert not make(v2_host).exists()


def test_the_own_cgroup_is_used_where_the_root_is_refused(v2_host: FakeHost) -> None:
    (v2_host.proc / "cgroup").write_text("0::/user.slice/mine\n")
    own = v2_host.root / "user.slice/mine"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu pids\n")
    (own / "cgroup.subtree_control").write_text("")
    v2_host.refused.add(str(v2_host.root))
    cgroup = create(v2_host, {})
    assert cgroup.directories() == {"": f"{own}/kedge/web"}
    assert (own / "cgroup.subtree_control").read_text() == "+cpu +pids"


def test_joining(v2_host: FakeHost) -> None:
    cgroup = create(v2_host, {})
    cgroup.join(5)
    assert v2_host.read("kedge/web/cgroup.procs") == "5"
    cgroup.join_self()
    assert v2_host.read("kedge/web/cgroup.procs") == "0"


def test_a_threaded_cgroup_cannot_be_joined(
    v2_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, value: str) -> None:
        raise OSError(errno.EOPNOTSUPP, value, path)

    cgroup = create(v2_host, {})
    (v2_host.root / "kedge/web/cgroup.type").write_text("threaded\n")
    monkeypatch.setattr(v2, "write_value", write)
    with pytest.raises(ConflictError, match="its type is 'threaded'"):
        cgroup.join_self()


def test_freezing_waits_for_the_event(v2_host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = create(v2_host, {})
    events = Path(v2_host.root / "kedge/web/cgroup.events")
    events.write_text("populated 1\nfrozen 1\n")
    cgroup.freeze()
    assert cgroup.is_frozen()
    cgroup.thaw()
    assert not cgroup.is_frozen()
    events.write_text("populated 1\nfrozen 0\n")
    monkeypatch.setattr(v2, "_FREEZE_WITHIN_S", 0.0)
    with pytest.raises(SystemFailureError, match="cannot freeze"):
        cgroup.freeze()
    assert not cgroup.is_frozen()


def test_counters(v2_host: FakeHost) -> None:
    cgroup = create(v2_host, {})
    stats = cgroup.stats()
    assert stats.version == 2
    assert (stats.cpu.usage_ns, stats.cpu.user_ns, stats.cpu.system_ns) == (30000, 20000, 10000)
    assert (stats.cpu.periods, stats.cpu.throttled_periods, stats.cpu.throttled_ns) == (5, 2, 7000)
    assert (stats.memory.usage, stats.memory.max_usage, stats.memory.limit) == (4096, 8192, -1)
    assert (stats.memory.failcnt, stats.memory.oom_kills, cgroup.oom_kills()) == (3, 2, 2)
    assert stats.memory.stat == {"anon": 1024, "inactive_file": 512}
    assert stats.pids == (3, -1)
    assert stats.io_service_bytes == (BlkioEntry(8, 0, "read", 10), BlkioEntry(8, 0, "write", 20))
    assert stats.io_serviced == (BlkioEntry(8, 0, "read", 1), BlkioEntry(8, 0, "write", 2))


def test_a_cgroup_that_is_not_there(v2_host: FakeHost) -> None:
    cgroup = make(v2_host)
    assert (cgroup.exists(), cgroup.pids(), cgroup.oom_kills(), cgroup.is_frozen()) == (
        False,
        [],
        0,
        False,
    )
    cgroup.kill()
    cgroup.delete()
    with pytest.raises(NotSupportedError, match="has not been created"):
        cgroup.stats()
