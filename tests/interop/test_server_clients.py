"""The official docker CLI and docker-py against the server over fake backends.

What is proven here is the protocol: that unmodified clients connect, negotiate, parse every
answer and stream. What containers do is tested elsewhere.
"""

# docker-py has no types.
# pyright: basic

import asyncio
import io
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import docker  # type: ignore[import-untyped]
import docker.errors  # type: ignore[import-untyped]
import pytest

from kedge.api.streams import STDERR, STDOUT, AttachedStream, frame
from kedge.api.types.container import WaitResponse
from kedge.api.types.exec import ExecStartRequest
from kedge.server.listeners import open_listener
from kedge.server.server import Server
from tests.unit.server.fakes import CONTAINER_ID, IDENTITY, IMAGE_ID, FakeEngine

pytestmark = pytest.mark.interop

DOCKER = shutil.which("docker")
TIMEOUT_S = 60


class Running(NamedTuple):
    """A server in a thread, its engine and where it listens."""

    engine: FakeEngine
    loop: asyncio.AbstractEventLoop
    address: str
    tcp_address: str


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started: Future[Running] = Future()
    stopped = threading.Thread(target=lambda: asyncio.run(_serve(tmp_path / "k.sock", started)))
    stopped.start()
    server = started.result(TIMEOUT_S)
    yield server
    server.loop.call_soon_threadsafe(server.engine.system.events_left.set)
    stopped.join(TIMEOUT_S)


async def _serve(path: Path, started: "Future[Running]") -> None:
    engine = FakeEngine()
    server = Server(engine.backends, IDENTITY)
    tcp = open_listener("tcp://127.0.0.1:0")
    await server.serve([open_listener(f"unix://{path}"), tcp])
    stop = engine.system.events_left = asyncio.Event()
    started.set_result(Running(engine, asyncio.get_running_loop(), f"unix://{path}", tcp.address))
    await stop.wait()
    await server.close(grace_s=1)
    for shim in (engine.containers.shim, engine.execs.shim):
        if shim is not None:
            shim.close()


def cli(running: Running, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    if DOCKER is None:
        pytest.skip("the docker CLI is not installed")
    return subprocess.run(
        [DOCKER, "-H", running.address, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={"DOCKER_BUILDKIT": "0", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}"), "28.2.2 1.51"),
        (("ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Ports}}"),
         "4ab14ab14ab1 web 0.0.0.0:8080->80/tcp"),
        (("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}"), "busybox:latest 4MB"),
        (("inspect", "--format", "{{.State.Pid}} {{.HostConfig.NetworkMode}}", "web"),
         "42 bridge"),
        (("inspect", "--format", "{{.Id}}", "busybox"), IMAGE_ID),
        (("inspect", "--format", "{{.Driver}}", "bridge"), "bridge"),
        (("info", "--format", "{{.Name}} {{.NCPU}} {{.Swarm.LocalNodeState}}"),
         "host 2 inactive"),
        (("network", "ls", "--format", "{{.Name}}"), "bridge"),
        (("volume", "ls", "-q"), ""),
        (("plugin", "ls", "-q"), ""),
        (("history", "-q", "busybox"), IMAGE_ID[7:19]),
        (("diff", "web"), "C /etc"),
        (("stop", "web"), "web"),
        (("rm", "-f", "web"), "web"),
        (("container", "prune", "-f"),
         f"Deleted Containers:\n{CONTAINER_ID}\n\nTotal reclaimed space: 7B"),
        (("rmi", "busybox"), f"Untagged: busybox:latest\nDeleted: {IMAGE_ID}"),
        (("stats", "--no-stream", "--format", "{{.Name}}", "web"), "web"),
    ],
)  # fmt: skip
def test_docker_understands_the_answers(
    running: Running, arguments: tuple[str, ...], expected: str
) -> None:
    got = cli(running, *arguments)
    assert (got.returncode, got.stdout.strip(), got.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "nope"), "Error: No such object: nope"),
        (("start", "nope"), "Error response from daemon: No such container: nope"),
        (("service", "ls"), "Error response from daemon: This node is not a swarm manager."),
        (("container", "prune", "-f", "--filter", "colour=red"),
         "Error response from daemon: invalid filter 'colour'"),
    ],
)  # fmt: skip
def test_docker_shows_the_errors(
    running: Running, arguments: tuple[str, ...], message: str
) -> None:
    got = cli(running, *arguments)
    assert message in got.stderr


def test_docker_pull_and_build_show_progress(running: Running, tmp_path: Path) -> None:
    got = cli(running, "pull", "busybox")
    assert "Status: Downloaded newer image for busybox:latest" in got.stdout
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / "big").write_bytes(bytes(1_000_000))
    got = cli(running, "build", "-t", "x", str(context))
    assert got.returncode == 0
    assert "Successfully built 5cd25cd25cd2" in got.stdout
    assert running.engine.builds.received > 1_000_000


def test_docker_pull_reports_a_failure_in_the_stream(running: Running) -> None:
    running.engine.images.fail_at = 2
    got = cli(running, "pull", "busybox")
    assert got.returncode == 1
    assert "manifest unknown" in got.stderr


def test_docker_logs_are_demultiplexed(running: Running) -> None:
    got = cli(running, "logs", "web")
    assert (got.stdout, got.stderr) == ("out\n", "err\n")


def test_docker_run_attaches_waits_and_takes_the_exit_code(running: Running) -> None:
    engine, loop = running.engine, running.loop

    async def start(ref: str) -> None:
        assert ref == CONTAINER_ID
        # By now docker has attached and waits: the order that `run` depends on.
        assert [call[0] for call in engine.containers.calls] == ["create", "attach", "wait"]
        shim = engine.containers.shim
        assert shim is not None
        loop.create_task(_echo(shim, engine))

    engine.containers.start = start  # type: ignore[method-assign]
    got = cli(running, "run", "-i", "busybox", "cat", stdin="typed\n")
    assert (got.stdout, got.stderr, got.returncode) == ("got typed\n", "done\n", 7)


async def _echo(shim: socket.socket, engine: FakeEngine) -> None:
    loop = asyncio.get_running_loop()
    typed = b""
    while data := await loop.sock_recv(shim, 1000):
        typed += data
    await loop.sock_sendall(shim, frame(STDOUT, b"got " + typed) + frame(STDERR, b"done\n"))
    shim.close()
    engine.containers.exited.set_result(WaitResponse(status_code=7))


def test_docker_exec(running: Running) -> None:
    running.loop.call_soon_threadsafe(_answer_exec_when_started, running)
    got = cli(running, "exec", "web", "ls")
    assert (got.returncode, got.stdout) == (0, "listing\n")


def _answer_exec_when_started(running: Running) -> None:
    start_session = running.engine.execs.start

    async def start(exec_id: str, request: ExecStartRequest) -> AttachedStream | None:
        stream = await start_session(exec_id, request)
        shim = running.engine.execs.shim
        assert shim is not None
        await running.loop.sock_sendall(shim, frame(STDOUT, b"listing\n"))
        shim.close()
        return stream

    running.engine.execs.start = start  # type: ignore[method-assign]


@pytest.mark.parametrize("over_tcp", [False, True])
def test_docker_py(running: Running, *, over_tcp: bool) -> None:
    address = running.tcp_address if over_tcp else running.address
    client = docker.DockerClient(base_url=address, version="auto", timeout=TIMEOUT_S)
    try:
        assert client.ping()
        assert client.api.api_version == "1.51"
        assert client.info()["Name"] == "host"
        (container,) = client.containers.list(all=True)
        assert container.name == "web"
        assert container.logs(stdout=True, stderr=True) == b"out\nerr\n"
        assert container.status == "running"
        container.stop(timeout=1)
        with pytest.raises(docker.errors.NotFound, match="No such container: nope"):
            client.containers.get("nope")
        with pytest.raises(docker.errors.APIError, match="409"):
            client.containers.create("busybox", name="web")
        created = client.containers.create(
            "busybox",
            ["echo", "hi"],
            environment={"A": "1"},
            ports={"80/tcp": 8080},
            volumes={"/tmp": {"bind": "/data", "mode": "ro"}},
            mem_limit="64m",
            labels=["a"],
            healthcheck={"test": ["CMD", "true"], "interval": 10**9},
        )
        assert created.id == CONTAINER_ID
        request = running.engine.containers.created[-1]
        assert request.host_config.memory == 64 * 1024 * 1024
        assert request.host_config.binds == ["/tmp:/data:ro"]
        assert request.host_config.port_bindings is not None
        image = client.images.pull("busybox", tag="latest")
        assert image.id == IMAGE_ID
        lines = client.api.build(fileobj=io.BytesIO(b"tar"), custom_context=True)
        assert "Successfully built" in json.loads(list(lines)[-1])["stream"]
        sample = container.stats(stream=False)
        assert sample["name"] == "/web"  # pyright: ignore[reportIndexIssue]
        running.loop.call_soon_threadsafe(_answer_exec_when_started, running)
        assert container.exec_run(["ls"], demux=True) == (0, (b"listing\n", None))
    finally:
        client.close()
