"""The process that makes a container and hands it over: what arrives, and what is left of it."""

import contextlib
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, SystemFailureError
from kedge.linux import prctl
from kedge.shim.maker import Made, Maker
from kedge.shim.messages import CreateRequest

NO_STREAMS = (-1, -1, -1)


def nothing() -> None:
    """Rehearse nothing."""


def request(name: str = "web") -> CreateRequest:
    return CreateRequest(id=name, bundle="/bundle", run_dir="/run", cgroup_path="/kedge/web")


def waiting_child(_request: CreateRequest, streams: tuple[int, int, int]) -> Made:
    """A child that, told to go on, writes to its output who its parent is."""
    ours, theirs = socket.socketpair()
    pid = os.fork()  # noqa: TID251 - what is under test does so, too
    if pid == 0:
        ours.close()
        theirs.recv(1)
        os.write(streams[1], str(os.getppid()).encode())
        os._exit(7)
    return Made(
        pid=pid,
        line=ours.detach(),
        terminal=-1,
        mountpoints=("/data", "/etc/hosts"),
        dies_with_init=True,
        has_poststart=False,
    )


def refusing(made: CreateRequest, _streams: tuple[int, int, int]) -> Made:
    raise ConflictError(f"no room for {made.id}")


def dying(_request: CreateRequest, _streams: tuple[int, int, int]) -> Made:
    os._exit(3)


def children_of_this() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def in_a_subreaper(body: Callable[[], None]) -> None:
    """Run ``body`` where orphans come to, without making this process such a place."""
    pid = os.fork()  # noqa: TID251 - what is under test does so, too
    if pid == 0:
        code = 1
        with contextlib.suppress(AssertionError):
            prctl.set_child_subreaper()
            body()
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_container_is_the_callers_child_once_its_maker_is_gone() -> None:
    def body() -> None:
        told, tell = os.pipe()
        maker = Maker(waiting_child, nothing)
        made = maker.make(request(), (-1, tell, -1))
        maker.wait()
        with socket.socket(fileno=made.line) as line:
            line.send(b"s")
            assert os.waitpid(made.pid, 0) == (made.pid, 7 << 8)
        assert os.read(told, 20) == str(os.getpid()).encode()
        assert made.mountpoints == ("/data", "/etc/hosts")
        assert made.dies_with_init
        assert made.terminal == -1

    in_a_subreaper(body)


def test_a_failure_arrives_as_it_was_and_leaves_no_child() -> None:
    maker = Maker(refusing, nothing)
    with pytest.raises(ConflictError, match=r"^no room for web$"):
        maker.make(request(), NO_STREAMS)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_maker_that_dies_is_a_failure_of_the_container() -> None:
    with pytest.raises(SystemFailureError, match="cannot make container web: its maker died"):
        Maker(dying, nothing).make(request(), NO_STREAMS)


def test_a_maker_that_did_not_get_ready_is_known_to_be_gone() -> None:
    maker = Maker(waiting_child, lambda: os._exit(5))
    os.waitid(os.P_PID, int(children_of_this()), os.WEXITED | os.WNOWAIT)
    assert not maker.is_alive()
    assert not maker.is_alive()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_maker_that_waits_is_alive() -> None:
    maker = Maker(refusing, nothing)
    assert maker.is_alive()
    with pytest.raises(ConflictError):
        maker.make(request(), NO_STREAMS)


def test_a_maker_nobody_asks_ends_with_the_shim() -> None:
    told, tell = os.pipe()

    def body() -> None:
        Maker(waiting_child, nothing)
        os.write(tell, children_of_this().encode())

    in_a_subreaper(body)
    os.close(tell)
    (pid,) = os.read(told, 100).split()
    os.close(told)
    # Gone already is gone as well.
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(int(pid))
        select.select([pidfd], [], [])
        os.close(pidfd)
