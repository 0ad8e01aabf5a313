"""What docker-py's own tests expect of an engine, and its users' programs with them."""

# docker-py has no types.
# pyright: basic

from collections.abc import Iterator
from typing import TYPE_CHECKING

import docker  # type: ignore[import-untyped]
import pytest

from tests.engine import Engine, shared_engine

if TYPE_CHECKING:
    from docker.models.containers import Container  # type: ignore[import-untyped]

__all__ = ["shared_engine"]
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
OUT_AND_ERR = ["sh", "-c", "echo hello out; echo hello err >&2"]


@pytest.fixture
def client(shared_engine: Engine) -> Iterator["docker.DockerClient"]:
    """A client of the module's engine."""
    client = docker.DockerClient(base_url=shared_engine.host)
    yield client
    client.close()


@pytest.fixture
def box(client: "docker.DockerClient") -> Iterator["Container"]:
    """A running container."""
    box = client.containers.run("busybox", ["sleep", "600"], detach=True)
    yield box
    box.remove(force=True)


def test_a_killed_container_is_dead_when_kill_returns(client: "docker.DockerClient") -> None:
    for _ in range(5):
        box = client.containers.run("busybox", ["sleep", "600"], detach=True)
        box.kill()
        box.reload()
        assert (box.status, box.attrs["State"]["ExitCode"]) == ("exited", 137)
        box.remove()


def test_a_milder_signal_is_only_sent(box: "Container") -> None:
    box.kill(signal="SIGUSR1")
    box.kill(signal="SIGWINCH")
    box.reload()
    assert box.status == "running"


def test_a_followed_log_comes_line_by_line(client: "docker.DockerClient") -> None:
    lines = client.containers.run("busybox", ["sh", "-c", "echo a; echo b; echo c"], stream=True)
    assert list(lines) == [b"a\n", b"b\n", b"c\n"]
    for box in client.containers.list(all=True):
        box.remove()


def test_a_terminal_is_framed_for_who_starts_without_tty(
    client: "docker.DockerClient", box: "Container"
) -> None:
    api = client.api
    made = api.exec_create(box.id, OUT_AND_ERR, tty=True)
    assert api.exec_start(made["Id"]) == b"hello out\r\nhello err\r\n"
    made = api.exec_create(box.id, OUT_AND_ERR, tty=True)
    assert api.exec_start(made["Id"], tty=True) == b"hello out\r\nhello err\r\n"
    made = api.exec_create(box.id, OUT_AND_ERR, tty=True)
    assert api.exec_start(made["Id"], demux=True) == (b"hello out\r\nhello err\r\n", None)
