import pytest

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject
from kedge.oci.runtime_spec_resources import DeviceRule, RdmaLimit, Resources, parse_resources


def test_nothing_mentioned_is_nothing_set() -> None:
    assert parse_resources({}) == Resources()
    assert parse_resources({"memory": None, "devices": None, "pids": None}) == Resources()
    assert parse_resources({"devices": []}).devices == ()


def test_values() -> None:
    parsed = parse_resources(
        {
            "devices": [{"allow": False}, {"allow": True, "type": "u", "major": 1, "access": "rw"}],
            "memory": {"limit": -1, "disableOOMKiller": True, "checkBeforeUpdate": True},
            "cpu": {"shares": 2, "cpus": "0-3", "realtimeRuntime": 950000, "idle": 1},
            "pids": {"limit": 7},
            "rdma": {"mlx5_0": {"hcaHandles": 3}},
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
            "unified": {"memory.high": "max"},
            "unknown": {"ignored": True},
        }
    )
    assert parsed.devices == (
        DeviceRule(allow=False),
        DeviceRule(allow=True, type="c", major=1, access="rw"),
    )
    assert (parsed.memory.limit, parsed.memory.disable_oom_killer) == (-1, True)
    assert (parsed.cpu.shares, parsed.cpu.cpus, parsed.cpu.idle) == (2, "0-3", 1)
    assert parsed.pids_limit == 7
    assert parsed.rdma == (RdmaLimit("mlx5_0", 3, None),)
    assert parsed.network.priorities[0].name == "eth0"
    assert parsed.unified == (("memory.high", "max"),)


WRONG: list[tuple[JsonObject, str]] = [
    ({"memory": {"limit": "1g"}}, r"linux\.resources\.memory\.limit must be an integer"),
    ({"memory": {"limit": True}}, r"memory\.limit must be an integer"),
    ({"memory": {"limit": 1 << 63}}, r"memory\.limit must be between"),
    ({"memory": []}, r"linux\.resources\.memory must be an object"),
    ({"devices": {}}, r"linux\.resources\.devices must be an array"),
    ({"devices": [{}]}, r"devices\[0\]\.allow is required"),
    ({"devices": [{"allow": "yes"}]}, r"devices\[0\]\.allow must be true or false"),
    ({"devices": [{"allow": True, "type": "x"}]}, r"devices\[0\]\.type must be a, b or c"),
    ({"devices": [{"allow": True, "access": "rx"}]}, r"access must be made of r, w and m"),
    ({"cpu": {"cpus": 3}}, r"cpu\.cpus must be a string"),
    ({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}, r"\[0\]\.pageSize must look like"),
    ({"hugepageLimits": [{"limit": 1}]}, r"hugepageLimits\[0\]\.pageSize is required"),
    ({"unified": {"../x": "1"}}, r"must be a file name"),
    ({"unified": {"x": 1}}, r"linux\.resources\.unified\.x must be a string"),
    ({"blockIO": {"weightDevice": [{"major": 8}]}}, r"weightDevice\[0\]\.minor is required"),
]


@pytest.mark.parametrize(("document", "message"), WRONG)
def test_a_wrong_value_is_named_by_its_path(document: JsonObject, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        parse_resources(document)
