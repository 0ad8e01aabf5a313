"""The official Python client, unchanged, against the engine."""

# docker-py has no types.
# pyright: basic

# docker-py has no types of its own, and the stubs there are know one shape of each answer only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportIndexIssue=false, reportArgumentType=false, reportCallIssue=false

import io
import itertools
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import docker  # type: ignore[import-untyped]
import pytest
from docker.errors import (  # type: ignore[import-untyped]
    APIError,
    BuildError,
    ContainerError,
    ImageNotFound,
    NotFound,
)

from tests.engine import Engine, make_tar

if TYPE_CHECKING:
    import socket

# The library leaves the closing of its streams to the collector.
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def client(engine: Engine) -> Iterator["docker.DockerClient"]:
    """A client of a running engine with busybox."""
    client = docker.DockerClient(base_url=engine.host)
    yield client
    client.close()


def test_run_returns_the_output_and_fails_with_the_code(client: "docker.DockerClient") -> None:
    assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    with pytest.raises(ContainerError) as caught:
        client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert caught.value.exit_status == 3
    assert caught.value.stderr == b"bad\n"
    assert client.containers.list(all=True) == []


def test_a_container_over_its_life(client: "docker.DockerClient") -> None:
    box = client.containers.run(
        "busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done; exec sleep 600"],
        detach=True, name="box", labels={"a": "b"}, environment={"X": "y"}, mem_limit="64m",
    )  # fmt: skip
    assert b"".join(itertools.islice(box.logs(stream=True, follow=True), 1)).startswith(b"1")
    box.reload()
    assert box.status == "running"
    assert box.labels == {"a": "b"}
    assert client.containers.get("box").id == box.id
    sample = box.stats(stream=False)
    assert sample["memory_stats"]["limit"] == 64 * 1024 * 1024
    assert sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert next(box.stats(stream=True, decode=True))["name"] == "/box"
    assert box.top()["Titles"]
    box.pause()
    box.unpause()
    box.stop(timeout=0)
    assert box.wait()["StatusCode"] == 137
    assert box.logs(tail=1) == b"3\n"
    box.start()
    box.restart(timeout=0)
    box.remove(force=True)
    with pytest.raises(NotFound):
        client.containers.get("box")


def test_exec_run(client: "docker.DockerClient") -> None:
    box = client.containers.run("busybox", "sleep 600", detach=True)
    done = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert done.exit_code == 4
    assert done.output == (b"out\n", b"err\n")
    _, stream = box.exec_run(["seq", "3"], stream=True)
    assert b"".join(stream) == b"1\n2\n3\n"
    assert box.exec_run("id -un", user="web").output == b"web\n"


def test_attach_with_a_socket(client: "docker.DockerClient") -> None:
    box = client.containers.create("busybox", "cat", stdin_open=True, tty=True)
    attached = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    raw: socket.socket = attached._sock
    raw.settimeout(30)
    raw.sendall(b"ping\n")
    seen = b""
    while b"ping\r\nping\r\n" not in seen:
        seen += raw.recv(1024)
    raw.sendall(b"\x04")
    assert box.wait()["StatusCode"] == 0
    attached.close()


def test_build_and_images(client: "docker.DockerClient") -> None:
    text = b"FROM busybox\nARG WHO\nRUN echo hello $WHO > /x\nCMD cat /x\n"
    image, log = client.images.build(
        fileobj=io.BytesIO(text), tag="app:1", buildargs={"WHO": "py"}, rm=True
    )
    assert any("Successfully built" in str(line) for line in log)
    assert image.tags == ["app:1"]
    assert client.containers.run("app:1", remove=True) == b"hello py\n"
    assert image.tag("other", tag="2")
    assert sorted(client.images.get("app:1").tags) == ["app:1", "other:2"]
    assert image.history()[0]["CreatedBy"]
    client.images.remove("other:2")
    client.images.remove("app:1")
    with pytest.raises(ImageNotFound):
        client.images.get("app:1")
    with pytest.raises(BuildError, match="returned a non-zero code: 5"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5\n"), rm=True)


def test_failures_are_the_librarys_own(client: "docker.DockerClient") -> None:
    with pytest.raises(ImageNotFound):
        client.containers.create("nosuch:image")
    client.containers.create("busybox", name="box")
    with pytest.raises(APIError) as caught:
        client.containers.create("busybox", name="box")
    assert caught.value.status_code == 409
    client.containers.prune()
    assert client.containers.list(all=True) == []


def test_events_and_system(client: "docker.DockerClient") -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["Images"] == 1
    stream = client.events(decode=True, filters={"type": "container", "event": "die"})
    client.containers.run("busybox", ["sh", "-c", "exit 0"], remove=True)
    assert next(stream)["Actor"]["Attributes"]["exitCode"] == "0"
    stream.close()
    assert client.df()["Images"]


def test_files_commit_and_archives(client: "docker.DockerClient") -> None:
    box = client.containers.create("busybox", ["cat", "/srv/note"], name="box")
    assert box.put_archive("/", make_tar({"srv/note": b"hello\n"}))
    pieces, stat = box.get_archive("/srv/note")
    assert stat is not None
    assert (stat["name"], stat["size"], stat["linkTarget"]) == ("note", 6, "")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.getnames() == ["note"]
    assert {"Kind": 1, "Path": "/srv/note"} in box.diff()
    image = box.commit("made", tag="1", message="why", author="me", changes="ENV A=b")
    assert image.tags == ["made:1"]
    assert image.attrs["Config"]["Env"] == ["PATH=/bin", "A=b"]
    assert (image.attrs["Comment"], image.attrs["Author"]) == ("why", "me")
    assert client.containers.run("made:1", remove=True) == b"hello\n"
    with tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))) as tar:
        assert "srv/note" in tar.getnames()
    saved = b"".join(image.save(named=True))
    client.images.remove("made:1")
    (loaded,) = client.images.load(saved)
    assert (loaded.id, loaded.tags) == (image.id, ["made:1"])
    client.api.import_image_from_data(make_tar({"x": b"1"}), repository="bare", tag="2")
    assert client.images.get("bare:2").attrs["RootFS"]["Layers"]
    assert [each.tags for each in client.images.list(name="made")] == [["made:1"]]
    counts = {tuple(each["RepoTags"]): each["Containers"] for each in client.api.images()}
    assert counts == {("busybox:latest",): 1, ("made:1",): 0, ("bare:2",): 0}
    assert client.images.prune(filters={"dangling": False})["SpaceReclaimed"] >= 0
    assert [each.tags for each in client.images.list()] == [["busybox:latest"]]


def test_volumes(client: "docker.DockerClient") -> None:
    volume = client.volumes.create("data", labels={"a": "b"})
    mounts = [docker.types.Mount("/d", "data"), docker.types.Mount("/t", None, type="tmpfs")]
    script = ["sh", "-c", "echo x > /d/f; grep -c ' /t tmpfs' /proc/mounts"]
    assert client.containers.run("busybox", script, mounts=mounts, remove=True) == b"1\n"
    seen = client.containers.run(
        "busybox", "cat /v/f", volumes={"data": {"bind": "/v", "mode": "ro"}}
    )
    assert seen == b"x\n"
    assert volume.attrs["Labels"] == {"a": "b"}
    assert [each.name for each in client.volumes.list(filters={"label": "a=b"})] == ["data"]
    with pytest.raises(APIError, match="volume is in use"):
        volume.remove()
    client.containers.prune()
    assert client.volumes.prune(filters={"all": True})["VolumesDeleted"] == ["data"]
    with pytest.raises(NotFound):
        client.volumes.get("data")


def test_the_rest_of_containers(client: "docker.DockerClient") -> None:
    flags = {"detach": True, "tty": True, "stdin_open": True}
    box = client.containers.run("busybox", ["sh"], name="old-name", **flags)
    box.rename("new-name")
    box.resize(height=10, width=20)
    assert box.exec_run("true").exit_code == 0
    box.update(mem_limit="32m", memswap_limit="64m")
    box.reload()
    assert (box.name, box.attrs["HostConfig"]["Memory"]) == ("new-name", 32 << 20)
    made = client.api.exec_create(box.id, ["sh", "-c", "stty size"], tty=True)
    assert client.api.exec_inspect(made["Id"])["Running"] is False
    assert client.api.exec_start(made["Id"], tty=True).strip()
    assert client.api.exec_inspect(made["Id"])["ExitCode"] == 0
    box.kill(signal="KILL")
    assert client.api.wait(box.id)["StatusCode"] == 137
    with pytest.raises(APIError) as caught:
        box.kill()
    assert caught.value.status_code == 409
    filters = {"status": "exited", "name": "new-name"}
    assert [each.id for each in client.containers.list(filters=filters)] == [box.id]
    assert client.df()["Containers"][0]["Id"] == box.id
