"""Every call of docker-py's low-level client, by group: each test fails when one is left out."""

# docker-py has no types.
# pyright: basic, reportAttributeAccessIssue=false

import gc
import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import docker  # type: ignore[import-untyped]
import pytest
from docker import types
from docker.api.build import BuildApiMixin  # type: ignore[import-untyped]
from docker.api.config import ConfigApiMixin  # type: ignore[import-untyped]
from docker.api.container import ContainerApiMixin  # type: ignore[import-untyped]
from docker.api.daemon import DaemonApiMixin  # type: ignore[import-untyped]
from docker.api.exec_api import ExecApiMixin  # type: ignore[import-untyped]
from docker.api.image import ImageApiMixin  # type: ignore[import-untyped]
from docker.api.network import NetworkApiMixin  # type: ignore[import-untyped]
from docker.api.plugin import PluginApiMixin  # type: ignore[import-untyped]
from docker.api.secret import SecretApiMixin  # type: ignore[import-untyped]
from docker.api.service import ServiceApiMixin  # type: ignore[import-untyped]
from docker.api.swarm import SwarmApiMixin  # type: ignore[import-untyped]
from docker.api.volume import VolumeApiMixin  # type: ignore[import-untyped]
from docker.errors import APIError, NotFound  # type: ignore[import-untyped]

from kedge.lib.clock import SYSTEM_CLOCK
from tests.engine import Engine, make_tar, shared_engine

__all__ = ["shared_engine"]
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CLOSED = "127.0.0.1:1/nothing"
"""Nothing listens on port 1."""


@pytest.fixture
def seen() -> set[str]:
    """What was asked of the client, by the test or by the library itself."""
    return set()


@pytest.fixture
def calls(shared_engine: Engine, seen: set[str]) -> Iterator["docker.APIClient"]:
    """A client of the module's engine that notes its calls."""

    def note(client: object, name: str) -> object:
        seen.add(name)
        return object.__getattribute__(client, name)

    noted = type("Noted", (docker.APIClient,), {"__getattribute__": note})
    client = noted(base_url=shared_engine.host)
    yield client
    client.close()
    # The library leaves the closing of its streams to the collector: here, not in another test.
    gc.collect()


def left_out(seen: set[str], *groups: type) -> set[str]:
    """Return the public methods of ``groups`` that nobody called."""
    methods = {
        name
        for group in groups
        for name, value in vars(group).items()
        if callable(value) and not name.startswith("_")
    }
    return methods - seen


def status_of(call: Callable[[], object]) -> int:
    """Return the HTTP status of a call that fails."""
    with pytest.raises(APIError) as caught:
        call()
    status = caught.value.status_code
    assert status is not None
    return int(status)


def test_containers(calls: "docker.APIClient", seen: set[str], tmp_path: Path) -> None:
    host = calls.create_host_config(
        binds={str(tmp_path): {"bind": "/host", "mode": "ro"}},
        port_bindings={80: ("127.0.0.1", None)}, cap_add=["NET_ADMIN"], cap_drop=["MKNOD"],
        dns=["192.0.2.1"], dns_search=["a.test"], dns_opt=["ndots:1"],
        extra_hosts={"other": "192.0.2.2"}, tmpfs={"/t": "size=1m"},
        ulimits=[types.Ulimit(name="nofile", soft=64, hard=128)], mem_limit="64m",
        memswap_limit="128m", nano_cpus=10**9, pids_limit=64, shm_size="8m",
        security_opt=["no-new-privileges"], devices=["/dev/null:/dev/nul:rwm"],
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, group_add=["104"],
        log_config=types.LogConfig(type="json-file", config={"max-size": "1m"}), init=True,
    )  # fmt: skip
    networking = calls.create_networking_config(
        {"bridge": calls.create_endpoint_config(aliases=None)}
    )
    settings = calls.create_container_config(
        "busybox", ["sh", "-c", "echo one; read x; echo got $x; exec sleep 600"], hostname="inside",
        ports=[80], environment={"A": "b"}, volumes=["/v"], working_dir="/etc", stdin_open=True,
        labels={"l": "1"}, stop_signal="SIGKILL", host_config=host, networking_config=networking,
    )  # fmt: skip
    calls.create_container_from_config(settings, name="first")
    calls.start("first")
    attached = calls.attach_socket("first", params={"stdin": 1, "stream": 1})
    attached._sock.sendall(b"typed\n")
    output = b""
    for piece in calls.attach("first", stream=True, logs=True):
        output += piece
        if output == b"one\ngot typed\n":
            break
    attached.close()
    (binding,) = calls.port("first", 80)
    assert (binding["HostIp"], binding["HostPort"].isdigit()) == ("127.0.0.1", True)
    shown = calls.inspect_container("first")
    assert (shown["Config"]["Hostname"], shown["State"]["Running"]) == ("inside", True)
    assert shown["HostConfig"]["Memory"] == 64 << 20
    assert calls.logs("first", tail=1) == b"got typed\n"
    in_100_s = SYSTEM_CLOCK.time_ns() // 10**9 + 100
    assert calls.logs("first", since=in_100_s) == b""
    assert calls.logs("first", timestamps=True, until=in_100_s).count(b"Z ") == 2
    both = calls.stats("first", stream=False)
    once = calls.stats("first", stream=False, one_shot=True)
    assert both["precpu_stats"]["system_cpu_usage"] > 0
    assert once["precpu_stats"].get("system_cpu_usage", 0) == 0
    assert calls.top("first", "aux")["Titles"][0] == "USER"
    assert {"Kind": 1, "Path": "/v"} in calls.diff("first")
    calls.resize("first", height=5, width=5)
    calls.update_container("first", mem_limit="32m", memswap_limit="64m", cpu_shares=300)
    assert calls.inspect_container("first")["HostConfig"]["CpuShares"] == 300
    calls.pause("first")
    assert calls.containers(filters={"status": "paused"})[0]["State"] == "paused"
    calls.unpause("first")
    calls.rename("first", "second")
    calls.kill("second", signal=9)
    assert calls.wait("second", condition="not-running")["StatusCode"] == 137
    calls.restart("second", timeout=0)
    calls.stop("second", timeout=0)
    calls.create_container("busybox", "true", name="later")
    listed = calls.containers(all=True, filters={"since": "second"}, quiet=True)
    assert [item["Id"] for item in listed] == [calls.inspect_container("later")["Id"]]
    assert calls.containers(limit=1, size=True, trunc=True)[0]["SizeRootFs"] > 0
    assert calls.put_archive("second", "/", make_tar({"note": b"text"}))
    pieces, stat = calls.get_archive("second", "/note")
    assert (b"text" in b"".join(pieces), stat["size"]) == (True, 4)
    assert b"note" in b"".join(calls.export("second"))
    made = calls.commit("second", repository="made", tag="1", author="me", conf={"User": "web"})
    assert calls.inspect_image(made["Id"])["Config"]["User"] == "web"
    calls.remove_image("made:1")
    calls.remove_container("second", v=True)
    assert len(calls.prune_containers(filters={"label!": ["none"]})["ContainersDeleted"]) == 1
    with pytest.raises(NotFound):
        calls.inspect_container("second")
    assert left_out(seen, ContainerApiMixin) == set()


def test_exec(calls: "docker.APIClient", seen: set[str]) -> None:
    calls.create_container("busybox", ["sleep", "600"], name="box")
    calls.start("box")
    made = calls.exec_create(
        "box", ["sh", "-c", "id -un; pwd; echo $X; cat"], stdin=True, user="web", workdir="/etc",
        environment={"X": "y"},
    )  # fmt: skip
    stream = calls.exec_start(made["Id"], socket=True)
    calls.exec_resize(made["Id"], height=10, width=10)
    stream._sock.sendall(b"input")
    stream._sock.shutdown(socket.SHUT_WR)
    output = b""
    while piece := stream._sock.recv(4096):
        output += piece
    assert b"web\n" in output
    assert b"/etc\n" in output
    assert output.endswith(b"input")
    stream.close()
    assert calls.exec_inspect(made["Id"])["ExitCode"] == 0
    calls.remove_container("box", force=True)
    assert left_out(seen, ExecApiMixin) == set()


def test_images(calls: "docker.APIClient", seen: set[str], tmp_path: Path) -> None:
    layer = make_tar({"file": b"x"})
    (tmp_path / "layer.tar").write_bytes(layer)
    calls.import_image(str(tmp_path / "layer.tar"), repository="in", tag="1", changes=["CMD x"])
    calls.import_image_from_file(str(tmp_path / "layer.tar"), repository="in", tag="2")
    # The library sends a length and chunks at once for files; a stream that has no length works.
    calls.import_image_from_stream(iter([layer]), repository="in", tag="3")
    calls.import_image_from_data(layer, repository="in", tag="4")
    assert calls.inspect_image("in:1")["Config"]["Cmd"] == ["/bin/sh", "-c", "x"]
    refused = calls.import_image_from_url("http://127.0.0.1:1/x", repository="in", tag="5")
    assert "connection refused" in refused
    # Docker's engine knows no import of an image, either: it pulls what is named.
    assert "error" in calls.import_image_from_image(CLOSED, repository="in", tag="6")
    listed = calls.images(name="in", filters={"dangling": False})
    assert sorted(tag for item in listed for tag in item["RepoTags"]) == [
        "in:1", "in:2", "in:3", "in:4",
    ]  # fmt: skip
    assert calls.history("in:4")[0]["Comment"] == ""
    assert calls.tag("in:4", "other", "x", force=True)
    saved = b"".join(calls.get_image("other:x"))
    calls.remove_image("other:x")
    assert any("other:x" in str(line) for line in calls.load_image(saved, quiet=False))
    assert any("error" in line for line in calls.pull(CLOSED, stream=True, decode=True))
    assert any("error" in line for line in calls.push(CLOSED, stream=True, decode=True))
    assert status_of(lambda: calls.inspect_distribution(CLOSED)) == 503
    assert status_of(lambda: calls.search("x" * 3, limit=500)) == 400
    for name in ("in:1", "in:2", "in:3", "in:4", "other:x"):
        calls.remove_image(name, force=True, noprune=False)
    assert calls.prune_images(filters={"dangling": False, "label": ["nobody"]}) == {
        "ImagesDeleted": [], "SpaceReclaimed": 0,
    }  # fmt: skip
    assert left_out(seen, ImageApiMixin) == set()


def test_builds(calls: "docker.APIClient", seen: set[str]) -> None:
    lines = calls.build(
        fileobj=io.BytesIO(b"FROM busybox\nARG A\nRUN test $A = b\n"), tag="app", rm=True,
        buildargs={"A": "b"}, labels={"l": "1"}, decode=True, nocache=True, pull=False,
        extra_hosts={"other": "192.0.2.2"}, shmsize=1 << 20, forcerm=True, quiet=False,
    )  # fmt: skip
    assert any("Successfully tagged app:latest" in str(line) for line in lines)
    assert calls.inspect_image("app")["Config"]["Labels"] == {"l": "1"}
    calls.remove_image("app")
    kept = calls.prune_builds(filters={"until": "1h"}, keep_storage=10**9, all=False)
    assert kept == {"CachesDeleted": [], "SpaceReclaimed": 0}
    assert left_out(seen, BuildApiMixin) - {"process_dockerfile"} == set()


def test_volumes(calls: "docker.APIClient", seen: set[str]) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    made = calls.create_volume("vol", driver="local", driver_opts=options, labels={"a": "b"})
    assert made["Options"] == options
    assert calls.volumes(filters={"dangling": True, "label": "a=b"})["Volumes"] == [made]
    assert calls.inspect_volume("vol") == made
    calls.remove_volume("vol", force=True)
    assert calls.prune_volumes(filters={"label": "a"})["VolumesDeleted"] == []
    assert left_out(seen, VolumeApiMixin) == set()


def test_networks(calls: "docker.APIClient", seen: set[str]) -> None:
    pool = types.IPAMPool(
        subnet="10.213.7.0/24", gateway="10.213.7.254", iprange="10.213.7.128/25",
        aux_addresses={"printer": "10.213.7.129"},
    )  # fmt: skip
    calls.create_network(
        "net", driver="bridge", ipam=types.IPAMConfig(pool_configs=[pool]), labels={"a": "b"},
        check_duplicate=True, internal=True, attachable=True, scope="local", ingress=False,
    )  # fmt: skip
    listed = calls.networks(names=["net"], filters={"driver": "bridge", "label": "a=b"})
    assert [item["Name"] for item in listed] == ["net"]
    calls.create_container("busybox", ["sleep", "600"], name="box")
    calls.start("box")
    calls.connect_container_to_network(
        "box", "net", ipv4_address="10.213.7.130", aliases=["alias"],
        mac_address="02:42:0a:d5:07:82",
    )  # fmt: skip
    (endpoint,) = calls.inspect_network("net", verbose=True, scope="local")["Containers"].values()
    assert endpoint["IPv4Address"] == "10.213.7.130/24"
    assert endpoint["MacAddress"] == "02:42:0a:d5:07:82"
    calls.disconnect_container_from_network("box", "net", force=True)
    calls.remove_container("box", force=True)
    calls.remove_network("net")
    assert calls.prune_networks(filters={"label": "a"})["NetworksDeleted"] in ([], None)
    assert left_out(seen, NetworkApiMixin) == set()


def test_the_engine(calls: "docker.APIClient", seen: set[str]) -> None:
    assert calls.ping()
    assert calls.version(api_version=False)["MinAPIVersion"] == "1.24"
    assert "macvlan" in calls.info()["Plugins"]["Network"]
    assert set(calls.df()) == {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
    calls.create_volume("told")
    calls.remove_volume("told")
    until = SYSTEM_CLOCK.time_ns() // 10**9 + 1
    told = calls.events(since=1, until=until, decode=True, filters={"type": "volume"})
    assert [event["Action"] for event in told if event["Actor"]["ID"] == "told"] == [
        "create", "destroy",
    ]  # fmt: skip
    assert status_of(lambda: calls.login("me", "secret", registry="127.0.0.1:1")) == 503
    assert left_out(seen, DaemonApiMixin) == set()


def test_what_this_engine_has_not(
    calls: "docker.APIClient", seen: set[str], tmp_path: Path
) -> None:
    for call in (
        calls.inspect_swarm, calls.nodes, calls.services, calls.tasks, calls.secrets, calls.configs,
        calls.get_unlock_key, calls.leave_swarm, lambda: calls.unlock_swarm("key"),
        lambda: calls.update_swarm(1, calls.create_swarm_spec()),
        lambda: calls.inspect_node("x"), lambda: calls.remove_node("x"),
        lambda: calls.update_node("x", 1, {}), lambda: calls.inspect_service("x"),
        lambda: calls.remove_service("x"), lambda: calls.service_logs("x"),
        lambda: calls.create_service(types.TaskTemplate(types.ContainerSpec("busybox"))),
        lambda: calls.update_service("x", 1), lambda: calls.inspect_task("x"),
        lambda: calls.create_secret("x", b"y"), lambda: calls.inspect_secret("x"),
        lambda: calls.remove_secret("x"), lambda: calls.create_config("x", b"y"),
        lambda: calls.inspect_config("x"), lambda: calls.remove_config("x"),
    ):  # fmt: skip
        assert status_of(call) == 503
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "rootfs").mkdir()
    for call in (
        calls.init_swarm, lambda: calls.join_swarm(["192.0.2.1"], "token"),
        lambda: calls.plugin_privileges("x"), lambda: calls.create_plugin("x", str(tmp_path)),
        lambda: list(calls.pull_plugin("x", [])),
    ):  # fmt: skip
        assert status_of(call) == 501
    assert calls.plugins() == []
    for call in (
        lambda: calls.inspect_plugin("x"), lambda: calls.enable_plugin("x"),
        lambda: calls.disable_plugin("x"), lambda: calls.remove_plugin("x"),
        lambda: calls.configure_plugin("x", {"a": "b"}), lambda: list(calls.push_plugin("x")),
        lambda: list(calls.upgrade_plugin("x", "y", [])),
    ):  # fmt: skip
        assert status_of(call) == 404
    assert left_out(seen, SwarmApiMixin, ServiceApiMixin, SecretApiMixin,
        ConfigApiMixin, PluginApiMixin,
    ) == set()  # fmt: skip
