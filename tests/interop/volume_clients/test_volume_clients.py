"""The volume commands of the official clients, unchanged."""

# docker-py has no types of its own, and the stubs there are know one shape of each answer only.
# pyright: basic, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportIndexIssue=false, reportArgumentType=false, reportCallIssue=false

import contextlib
import json
from datetime import UTC, datetime

import docker  # type: ignore[import-untyped]
import pytest
from docker.errors import APIError, NotFound  # type: ignore[import-untyped]
from docker.types import Mount  # type: ignore[import-untyped]

from tests.engine import Engine

# The library leaves the closing of its streams to the collector.
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_docker_cli(engine: Engine) -> None:
    docker_cli = engine.docker
    assert docker_cli("volume", "create", "--label", "a=b", "data").stdout == "data\n"
    anonymous = docker_cli("volume", "create").stdout.strip()
    assert len(anonymous) == 64
    docker_cli("create", "--name", "user", "-v", "data:/d:ro", "-v", "/anon", "busybox")
    (shown,) = json.loads(docker_cli("volume", "inspect", "data").stdout)
    assert (shown["Name"], shown["Driver"], shown["Labels"], shown["Options"], shown["Scope"]) == (
        "data", "local", {"a": "b"}, None, "local",
    )  # fmt: skip
    for words, wanted in (
        (("-f", "dangling=true"), [anonymous]),
        (("-f", "label=a=b"), ["data"]),
        (("-f", "name=dat"), ["data"]),
        (("-f", "driver=other"), []),
    ):
        assert docker_cli("volume", "ls", "-q", *words).stdout.split() == wanted
    mounts = json.loads(docker_cli("inspect", "-f", "{{json .Mounts}}", "user").stdout)
    assert mounts[0] == {
        "Type": "volume", "Name": "data", "Source": shown["Mountpoint"], "Destination": "/d",
        "Driver": "local", "Mode": "ro", "RW": False, "Propagation": "",
    }  # fmt: skip
    usage = docker_cli("system", "df", "-v").stdout
    assert ["data", "1", "0B"] in [line.split() for line in usage.splitlines()]
    failed = docker_cli("volume", "rm", "data", check=False)
    container = docker_cli("inspect", "-f", "{{.Id}}", "user").stdout.strip()
    assert failed.stderr == (
        f"Error response from daemon: remove data: volume is in use - [{container}]\n"
    )
    assert anonymous in docker_cli("volume", "prune", "-f").stdout
    docker_cli("rm", "-v", "user")
    assert docker_cli("volume", "ls", "-q").stdout == "data\n"
    assert "data" not in docker_cli("volume", "prune", "-f").stdout
    assert "data" in docker_cli("volume", "prune", "-f", "-a").stdout
    assert docker_cli("volume", "rm", "data", check=False).stderr == (
        "Error response from daemon: get data: no such volume\n"
    )
    assert docker_cli("volume", "rm", "-f", "data").stdout == "data\n"
    # The client cuts durations to the second.
    now = f"{datetime.now(UTC).timestamp():.6f}"
    events = docker_cli(
        "events", "--since", "1m", "--until", now, "-f", "volume=data", "--format", "{{.Action}}"
    ).stdout.split()
    assert events == ["create", "destroy"]


def test_docker_py(engine: Engine) -> None:
    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as client:
        volume = client.volumes.create("data", labels={"a": "b"})
        assert (volume.name, volume.attrs["Labels"]) == ("data", {"a": "b"})
        mount = Mount("/d", "data", driver_config=None, no_copy=True)
        client.containers.run("busybox", "touch /d/f", mounts=[mount], remove=True)
        bind = {"data": {"bind": "/x", "mode": "ro"}}
        assert client.containers.run("busybox", "ls /x", volumes=bind, remove=True) == b"f\n"
        container = client.containers.create("busybox", volumes=bind)
        with pytest.raises(APIError) as caught:
            volume.remove()
        assert caught.value.status_code == 409
        assert [item.name for item in client.volumes.list(filters={"dangling": True})] == []
        container.remove(v=True)
        (usage,) = client.df()["Volumes"]
        assert usage["UsageData"] == {"RefCount": 0, "Size": 0}
        pruned = client.volumes.prune(filters={"all": True})
        assert pruned == {"VolumesDeleted": ["data"], "SpaceReclaimed": 0}
        with pytest.raises(NotFound):
            client.volumes.get("data")
        with pytest.raises(APIError) as caught:
            client.volumes.create("x", driver_opts={"odd": "1"})
        assert caught.value.status_code == 400


def test_before_1_42_a_prune_takes_names_too(engine: Engine) -> None:
    with contextlib.closing(docker.APIClient(base_url=engine.host, version="1.41")) as old:
        old.create_volume("data")
        assert old.prune_volumes()["VolumesDeleted"] == ["data"]
    with contextlib.closing(docker.APIClient(base_url=engine.host, version="1.42")) as new:
        new.create_volume("data")
        assert new.prune_volumes()["VolumesDeleted"] == []
