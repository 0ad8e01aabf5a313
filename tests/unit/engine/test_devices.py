import os
from pathlib import Path

import pytest

from kedge.api.types.config import DeviceMapping, DeviceRequest, HostConfig, ThrottleDevice
from kedge.engine.cdi import CdiRegistry, inject, load_registry, select_devices
from kedge.engine.devices import check_devices, describe_device, plan_block_io, plan_devices
from kedge.errdefs import InvalidParameterError, SystemFailureError


def mapping(source: str, target: str = "", access: str = "") -> HostConfig:
    return HostConfig(
        devices=[
            DeviceMapping(path_on_host=source, path_in_container=target, cgroup_permissions=access)
        ]
    )


def test_a_device_under_another_name() -> None:
    plan = plan_devices(mapping("/dev/null", "/dev/void", "r"))
    (node,), (rule,) = plan.nodes, plan.rules
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/void", "c", 1, 3)
    assert rule == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_no_flag_adds_nothing() -> None:
    plan = plan_devices(HostConfig())
    assert (plan.nodes, plan.rules) == ((), ())


def test_a_link_leads_to_its_device(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/zero")
    (node,) = plan_devices(mapping(str(link), "/dev/z")).nodes
    assert (node["path"], node["minor"]) == ("/dev/z", 5)


def test_a_missing_device_has_dockers_text() -> None:
    with pytest.raises(
        SystemFailureError, match=r'while adding custom device "/dev/nope": no such file'
    ):
        plan_devices(mapping("/dev/nope"))


def test_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for path in (tmp_path / "f", tmp_path):
        with pytest.raises(SystemFailureError, match="not a device node"):
            plan_devices(mapping(str(path)))


def test_rules() -> None:
    host = HostConfig(device_cgroup_rules=["c 10:* rw", "a *:* rwm"])
    check_devices(host)
    assert plan_devices(host).rules == (
        {"allow": True, "type": "c", "access": "rw", "major": 10},
        {"allow": True, "type": "a", "access": "rwm"},
    )


@pytest.mark.parametrize("rule", ["", "c 1:3", "x 1:3 r", "c 1:3 rx", "c 1:-3 r", "c 1:3 rwmr"])
def test_bad_rules(rule: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid device cgroup rule format"):
        check_devices(HostConfig(device_cgroup_rules=[rule]))


@pytest.mark.parametrize("access", ["x", "rr", "rwmx"])
def test_bad_access(access: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid device mode"):
        check_devices(mapping("/dev/null", access=access))


def test_privileged_gets_every_device_and_no_rule() -> None:
    plan = plan_devices(HostConfig(privileged=True))
    assert "/dev/null" in [node["path"] for node in plan.nodes]
    assert not [node for node in plan.nodes if str(node["path"]).startswith("/dev/pts/")]
    assert plan.rules == ()


def test_only_block_devices_have_limits() -> None:
    host = HostConfig(blkio_device_read_bps=[ThrottleDevice(path="/dev/null", rate=1)])
    with pytest.raises(SystemFailureError, match="not a block device"):
        plan_block_io(host)
    host = HostConfig(blkio_device_read_bps=[ThrottleDevice(path="/dev/nope", rate=1)])
    with pytest.raises(SystemFailureError, match="stat /dev/nope: no such file or directory"):
        plan_block_io(host)
    assert plan_block_io(HostConfig(blkio_weight=300)) == {"weight": 300}


def test_a_device_node_keeps_its_mode() -> None:
    assert describe_device("/dev/null", "/x")["fileMode"] == os.stat("/dev/null").st_mode & 0o7777


SPEC = """{
  "cdiVersion": "0.6.0", "kind": "vendor.com/class",
  "containerEdits": {"env": ["ALL=1"]},
  "devices": [
    {"name": "one", "containerEdits": {
      "env": ["ONE=1"],
      "deviceNodes": [{"path": "/dev/one", "hostPath": "/dev/null", "permissions": "rw"}],
      "mounts": [{"hostPath": "/etc", "containerPath": "/one", "options": ["ro", "bind"]}],
      "hooks": [{"hookName": "poststop", "path": "/bin/true", "args": ["true"]}],
      "additionalGids": [7]}},
    {"name": "two", "containerEdits": {"env": ["TWO=1"]}},
    {"name": "net", "containerEdits": {"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}},
    {"name": "gone", "containerEdits": {"deviceNodes": [{"path": "/dev/nope"}]}},
    {"name": "odd", "containerEdits": {"hooks": [{"hookName": "never", "path": "/x"}]}}
  ]
}"""


@pytest.fixture
def registry(tmp_path: Path) -> CdiRegistry:
    (tmp_path / "vendor.json").write_text(SPEC)
    return load_registry([str(tmp_path)])


def test_injection(registry: CdiRegistry) -> None:
    result = inject(["vendor.com/class=one", "vendor.com/class=two"], registry, privileged=False)
    assert result.env == ["ALL=1", "ONE=1", "TWO=1"]
    (node,), (rule,) = result.nodes, result.rules
    assert (node["path"], node["major"], rule["access"]) == ("/dev/one", 1, "rw")
    assert result.mounts[0].container_path == "/one"
    assert result.hooks == {"poststop": [{"path": "/bin/true", "args": ["true"], "env": []}]}
    assert result.additional_gids == [7]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vendor.com/class=three", "unresolvable CDI devices vendor.com/class=three"),
        ("vendor.com/class=net", "netDevices is not supported"),
        ("vendor.com/class=gone", 'failed to stat CDI host device "/dev/nope"'),
        ("vendor.com/class=odd", 'unknown hook name "never"'),
    ],
)
def test_what_cannot_be_injected(registry: CdiRegistry, name: str, text: str) -> None:
    with pytest.raises(SystemFailureError, match=text):
        inject([name], registry, privileged=False)


def test_a_later_folder_wins_and_twice_in_one_is_nobodys(tmp_path: Path) -> None:
    for folder, name, value in (
        ("a", "x", "low"),
        ("b", "x", "high"),
        ("a", "y", "1"),
        ("a", "z", "1"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        device = "same" if name in "yz" else "dev"
        (tmp_path / folder / f"{name}.json").write_text(
            '{"cdiVersion": "0.6.0", "kind": "v.com/c", "devices": '
            f'[{{"name": "{device}", "containerEdits": {{"env": ["V={value}"]}}}}]}}'
        )
    registry = load_registry([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "none")])
    assert inject(["v.com/c=dev"], registry, privileged=False).env == ["V=high"]
    assert "v.com/c=same" not in registry.devices
    assert "described twice" in registry.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"cdiVersion": "1", "kind": "nokind", "devices": [{"name": "x", "containerEdits": {}}]}',
    ],
)
def test_a_broken_file_is_a_problem_and_hides_no_other(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text(SPEC)
    registry = load_registry([str(tmp_path)])
    assert "vendor.com/class=one" in registry.devices
    assert len(registry.problems) == 1
    assert "a.json" in registry.problems[0]


def gpus(count: int = 0, ids: list[str] | None = None, driver: str = "") -> list[DeviceRequest]:
    return [DeviceRequest(driver=driver, count=count, device_ids=ids or [], capabilities=[["gpu"]])]


@pytest.fixture
def with_gpus(tmp_path: Path) -> CdiRegistry:
    devices = ",".join(
        f'{{"name": "{name}", "containerEdits": {{}}}}' for name in ("0", "1", "all")
    )
    (tmp_path / "gpu.json").write_text(
        f'{{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{devices}]}}'
    )
    return load_registry([str(tmp_path)])


@pytest.mark.parametrize(
    ("requests", "names"),
    [
        (gpus(-1), ["nvidia.com/gpu=all"]),
        (gpus(1), ["nvidia.com/gpu=0"]),
        (gpus(0, ["1"]), ["nvidia.com/gpu=1"]),
        (gpus(2, driver="nvidia"), ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        ([DeviceRequest(driver="cdi", device_ids=["a.b/c=d"])], ["a.b/c=d"]),
    ],
)
def test_gpus_are_cdi_devices(
    with_gpus: CdiRegistry, requests: list[DeviceRequest], names: list[str]
) -> None:
    assert select_devices(requests, with_gpus) == names


def test_gpus_there_are_not(with_gpus: CdiRegistry) -> None:
    text = r'could not select device driver "" with capabilities: \[\[gpu\]\]'
    with pytest.raises(SystemFailureError, match=text):
        select_devices(gpus(-1), CdiRegistry())
    with pytest.raises(SystemFailureError, match='could not select device driver "amd"'):
        select_devices(gpus(-1, driver="amd"), with_gpus)
    with pytest.raises(SystemFailureError, match="this host has 2"):
        select_devices(gpus(3), with_gpus)
