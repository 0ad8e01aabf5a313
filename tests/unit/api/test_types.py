"""What an empty object looks like on the wire: what clients of Docker find present or absent."""

import json

from kedge.api.codec import encode
from kedge.api.streams import STDERR, frame
from kedge.api.types.config import ContainerConfig, EndpointSettings, HostConfig, Mount
from kedge.api.types.container import (
    ContainerInspect,
    ContainerState,
    ContainerSummary,
    Health,
    MountPoint,
    WaitResponse,
)
from kedge.api.types.exec import ExecInspect
from kedge.api.types.image import ImageDeleteItem, ImageInspect
from kedge.api.types.progress import Aux, ProgressMessage, error_message
from kedge.api.types.stats import Stats
from kedge.api.types.system import DiskUsage, Event, Info, Version
from kedge.lib.jsontypes import JsonObject


def wire(value: object) -> JsonObject:
    document: JsonObject = json.loads(encode(value))
    return document


def test_omitempty_fields_are_absent_and_the_others_present() -> None:
    config = wire(ContainerConfig())
    assert "Healthcheck" not in config
    assert "ExposedPorts" not in config
    assert "StopSignal" not in config
    assert config["Env"] == []
    assert config["Cmd"] is None
    assert config["Tty"] is False
    host = wire(HostConfig())
    assert "Mounts" not in host
    assert "Init" not in host
    assert host["OomKillDisable"] is None
    assert host["ConsoleSize"] == [0, 0]
    assert host["RestartPolicy"] == {"Name": "", "MaximumRetryCount": 0}
    assert host["UTSMode"] == ""
    assert host["IOMaximumIOps"] == 0
    assert wire(Mount(type="bind")) == {"Type": "bind"}


def test_a_set_field_is_present() -> None:
    assert wire(ContainerConfig(stop_timeout=0))["StopTimeout"] == 0
    assert wire(HostConfig(init=False))["Init"] is False


def test_legacy_network_settings_are_there() -> None:
    settings = wire(ContainerInspect())["NetworkSettings"]
    assert isinstance(settings, dict)
    assert {"IPAddress", "IPPrefixLen", "Gateway", "MacAddress", "EndpointID", "Bridge",
            "GlobalIPv6Address", "SandboxID", "Ports", "Networks"} <= settings.keys()  # fmt: skip
    assert {"IPAMConfig", "DNSNames", "GwPriority"} <= wire(EndpointSettings()).keys()


def test_state_and_summary() -> None:
    state = wire(ContainerState())
    assert state["StartedAt"] == "0001-01-01T00:00:00Z"
    assert "Health" not in state
    assert "Health" in wire(ContainerState(health=Health()))
    summary = wire(ContainerSummary())
    assert summary["Mounts"] == []
    assert "SizeRw" not in summary
    assert "RW" in wire(MountPoint())


def test_small_objects() -> None:
    assert wire(WaitResponse(status_code=1)) == {"StatusCode": 1}
    assert wire(ImageDeleteItem(untagged="a")) == {"Untagged": "a"}
    assert wire(ExecInspect())["ExitCode"] is None
    assert wire(ProgressMessage(stream="x")) == {"stream": "x"}
    assert wire(ProgressMessage(aux=Aux(id="i"))) == {"aux": {"ID": "i"}}
    assert wire(error_message("bad", code=2)) == {
        "errorDetail": {"code": 2, "message": "bad"},
        "error": "bad",
    }
    assert wire(Event(type="a", action="b")) == {
        "Type": "a",
        "Action": "b",
        "Actor": {"ID": "", "Attributes": {}},
    }


def test_large_objects_have_docker_s_spelling() -> None:
    assert {"NCPU", "NFd", "CPUShares", "CPUSet", "OSType", "IPv4Forwarding", "NGoroutines",
            "DockerRootDir", "CDISpecDirs", "Swarm"} <= wire(Info()).keys()  # fmt: skip
    assert {"Platform", "ApiVersion", "GitCommit", "Os", "Arch"} <= wire(Version()).keys()
    assert {"RootFS", "GraphDriver", "RepoDigests"} <= wire(ImageInspect()).keys()
    assert wire(DiskUsage())["BuildCache"] == []
    stats = wire(Stats())
    assert stats["read"] == "0001-01-01T00:00:00Z"
    assert stats["memory_stats"] == {}
    assert stats["precpu_stats"] == stats["cpu_stats"]


def test_a_frame() -> None:
    assert frame(STDERR, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"
