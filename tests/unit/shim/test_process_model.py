"""Spawner, shim and the engine's client as real processes around a fake container."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path

import pytest

import kedge
from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    NotFoundError,
    UnavailableError,
)
from kedge.lib.jsontypes import JsonObject
from kedge.shim.client import Shim
from kedge.shim.exits import load_exit
from kedge.shim.logconfig import LogConfig
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.spawner_client import Spawner

_SOURCES = [str(Path(kedge.__file__).parents[1]), str(Path(__file__).parents[3])]
PROGRAM = (
    f"import sys; sys.path[:0] = {_SOURCES!r}; from kedge.shim.spawner import main; "
    "from tests.unit.shim.fake_task import prepare; main(prepare)"
)


class Host:
    """A spawner and the directories of its containers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spawner = Spawner(run_dir=str(root), program=PROGRAM)
        self.shims: list[Shim] = []

    def request(self, name: str, *args: str, stdin: bool = False) -> CreateRequest:
        directory = self.root / name
        directory.mkdir()
        self.configure(name, {"args": [*args]})
        return CreateRequest(
            id=name,
            bundle=str(directory),
            run_dir=str(directory),
            cgroup_path=f"kedge-none/{name}",
            log=LogConfig(str(directory / "x.log")),
            stdin=stdin,
        )

    def configure(self, name: str, config: JsonObject) -> None:
        (self.root / name / "config.json").write_text(json.dumps(config))

    async def create(self, name: str, *args: str, stdin: bool = False) -> Shim:
        shim = await self.spawner.create(self.request(name, *args, stdin=stdin))
        self.shims.append(shim)
        await shim.wait_created()
        return shim

    async def run(self, name: str, *args: str, stdin: bool = False) -> Shim:
        shim = await self.create(name, *args, stdin=stdin)
        await shim.start()
        return shim

    def has(self, name: str, file: str) -> bool:
        return (self.root / name / file).exists()

    def log(self, name: str) -> str:
        lines = (self.root / name / "x.log").read_text().splitlines()
        return "".join(json.loads(line)["log"] for line in lines)

    async def close(self) -> None:
        for shim in self.shims:
            if shim.is_connected:
                with contextlib.suppress(ConflictError):
                    await shim.kill(signal.SIGKILL)
                    await shim.wait()
                with contextlib.suppress(UnavailableError):
                    await shim.shutdown()
            shim.close()
        await self.spawner.close()


@contextlib.asynccontextmanager
async def open_host() -> AsyncGenerator[Host]:
    with tempfile.TemporaryDirectory(prefix="kedge-shim-") as root:
        host = Host(Path(root))
        try:
            yield host
        finally:
            await host.close()


def scenario(test: Callable[[Host], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run an async test body with a host of its own, bounded in time."""

    async def run() -> None:
        async with asyncio.timeout(30), open_host() as host:
            await test(host)

    def wrapper() -> None:
        asyncio.run(run())

    wrapper.__name__ = getattr(test, "__name__", "scenario")
    return wrapper


async def read_to_end(shim: Shim) -> bytes:
    stream = await shim.attach(stdout=True, stderr=True)
    return await drain(stream)


async def drain(stream: socket.socket) -> bytes:
    data = bytearray()
    loop = asyncio.get_running_loop()
    with stream:
        while chunk := await loop.sock_recv(stream, 65536):
            data += chunk
    return bytes(data)


async def gone(pid: int) -> None:
    """Return when a process that is no child of ours has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


@scenario
async def test_output_exit_code_and_files(host: Host) -> None:
    shim = await host.create("web", "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    # Attached before it starts: what it writes is sent to who is there by then.
    reading = asyncio.create_task(drain(await shim.attach(stdout=True, stderr=True)))
    assert (await shim.wait_created()).created_mountpoints == ("/made",)
    started = await shim.start()
    assert started.pid == (await shim.wait_created()).pid
    status = await shim.wait()
    assert (status.exit_code, status.signal, status.oom_killed) == (3, 0, False)
    assert load_exit(shim.run_dir) == status
    assert status.exited_at_ns >= started.started_at_ns
    assert b"\x01\0\0\0\0\0\0\x04out\n" in await reading
    assert sorted(host.log("web").splitlines()) == ["err", "out"]
    await shim.shutdown()
    assert not host.has("web", "shim.sock")
    assert host.has("web", "deleted")
    await gone(shim.pid)


@scenario
async def test_death_by_signal(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    await shim.kill(signal.SIGTERM)
    statuses = await asyncio.gather(shim.wait(), shim.wait())
    assert statuses[0] == statuses[1]
    assert (statuses[0].exit_code, statuses[0].signal) == (143, 15)
    with pytest.raises(ConflictError, match="not running"):
        await shim.kill(signal.SIGTERM)


@scenario
async def test_failed_creation_is_told_and_leaves_no_shim(host: Host) -> None:
    request = host.request("web", "/bin/true")
    host.configure("web", {"fail": "create"})
    shim = await host.spawner.create(request)
    with pytest.raises(InvalidParameterError, match=r"config\.json is nonsense"):
        await shim.wait_created()
    await shim.shutdown()
    await gone(shim.pid)
    assert not host.has("web", "shim.sock")


@scenario
async def test_failed_start_is_told(host: Host) -> None:
    shim = await host.create("web", "/no/such")
    attached = asyncio.create_task(read_to_end(shim))
    with pytest.raises(NotFoundError, match="executable file not found"):
        await shim.start()
    assert await attached == b""
    with pytest.raises(ConflictError):
        await shim.start()
    await shim.shutdown()
    await gone(shim.pid)


@scenario
async def test_engine_that_goes_before_start_takes_the_container_along(host: Host) -> None:
    shim = await host.create("web", "/bin/sleep", "1000")
    created = await shim.wait_created()
    shim.close()
    await gone(created.pid)
    await gone(shim.pid)
    assert host.has("web", "deleted")


@scenario
async def test_adoption_after_the_engine_was_gone(host: Host) -> None:
    shim = await host.run("web", "/bin/sh", "-c", "read line; echo got $line; exit 5", stdin=True)
    pid = shim.pid
    shim.close()
    second = await Shim.connect(shim.run_dir)
    host.shims.append(second)
    assert (second.container_id, second.pid, second.state) == ("web", pid, "running")
    assert second.started == shim.started
    feed = await second.attach(stdin=True, stdout=True)
    feed.send(b"hello\n")
    assert (await second.wait()).exit_code == 5
    assert b"got hello\n" in await drain(feed)
    second.close()
    third = await Shim.connect(shim.run_dir)
    assert third.state == "exited"
    assert (await third.wait()).exit_code == 5
    await third.shutdown()
    await gone(pid)
    with pytest.raises(UnavailableError, match="no shim answers"):
        await Shim.connect(shim.run_dir)


@scenario
async def test_shims_outlive_their_spawner_and_another_is_started(host: Host) -> None:
    first = await host.run("one", "/bin/sleep", "1000")
    spawner_pid = host.spawner.pid
    os.kill(spawner_pid, signal.SIGKILL)
    second = await host.run("two", "/bin/sh", "-c", "exit 4")
    assert host.spawner.pid != spawner_pid
    assert (await second.wait()).exit_code == 4
    await first.kill(signal.SIGKILL)
    assert (await first.wait()).exit_code == 137


@scenario
async def test_requests_in_flight_survive_a_dying_spawner(host: Host) -> None:
    await host.spawner.start()
    creations = [
        asyncio.create_task(host.run(f"c{number}", "/bin/sh", "-c", f"exit {number}"))
        for number in range(8)
    ]
    await asyncio.sleep(0)
    os.kill(host.spawner.pid, signal.SIGKILL)
    for number, creation in enumerate(creations):
        assert (await (await creation).wait()).exit_code == number


@scenario
async def test_a_spawner_that_cannot_live_is_reported_in_one_line(host: Host) -> None:
    broken = Spawner(run_dir=str(host.root), program="raise SystemExit('no luck')")
    with pytest.raises(UnavailableError, match=r"container web: .*no luck.*spawner\.log"):
        await broken.create(host.request("web", "/bin/true"))
    await broken.close()
    assert "no luck" in (host.root / "spawner.log").read_text()


@scenario
async def test_exec_sessions(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    script = "read word; echo out $word; echo err >&2; exit 9"
    session = await shim.exec(
        ExecRequest("e1", {"args": ["/bin/sh", "-c", script]}, stdin=True, stdout=True, stderr=True)
    )
    with pytest.raises(ConflictError, match="already in use"):
        await shim.exec(ExecRequest("e1", {"args": ["/bin/true"]}))
    assert session.stream is not None
    session.stream.send(b"in\n")
    assert (await session.wait()).exit_code == 9
    output = await drain(session.stream)
    assert b"out in\n" in output
    assert b"err\n" in output
    detached = await shim.exec(ExecRequest("e2", {"args": ["/bin/sh", "-c", "exit 6"]}))
    assert detached.stream is None
    assert (await detached.wait()).exit_code == 6
    killed = await shim.exec(ExecRequest("e3", {"args": ["/bin/sleep", "1000"]}))
    await killed.kill(signal.SIGKILL)
    assert (await killed.wait()).exit_code == 137
    with pytest.raises(ConflictError, match="e3 is not running"):
        await killed.kill(signal.SIGKILL)


@scenario
async def test_exec_that_leaves_a_daemon_behind_comes_back(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    script = "sleep 1000 & echo $!"
    session = await shim.exec(
        ExecRequest("e1", {"args": ["/bin/sh", "-c", script]}, stdout=True, stderr=True)
    )
    assert (await session.wait()).exit_code == 0
    assert session.stream is not None
    output = await drain(session.stream)
    os.kill(int(output[8:]), signal.SIGKILL)


@scenario
async def test_exec_is_remembered_for_the_next_engine(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    ended = await shim.exec(ExecRequest("ended", {"args": ["/bin/sh", "-c", "exit 7"]}))
    await ended.wait()
    alive = await shim.exec(ExecRequest("alive", {"args": ["/bin/sleep", "1000"]}))
    shim.close()
    second = await Shim.connect(shim.run_dir)
    host.shims.append(second)
    assert (await second.execs["ended"].wait()).exit_code == 7
    again = second.execs["alive"]
    assert again.pid == alive.pid
    await again.kill(signal.SIGTERM)
    assert (await again.wait()).signal == signal.SIGTERM


@scenario
async def test_pause_refuses_exec_and_a_kill_resumes(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    await shim.pause()
    with pytest.raises(ConflictError, match="is already paused"):
        await shim.pause()
    with pytest.raises(ConflictError, match="is paused, unpause the container before exec"):
        await shim.exec(ExecRequest("e1", {"args": ["/bin/true"]}))
    await shim.resume()
    with pytest.raises(ConflictError, match="is not paused"):
        await shim.resume()
    await shim.pause()
    await shim.kill(signal.SIGKILL)
    assert (await shim.wait()).exit_code == 137


@scenario
async def test_other_requests(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    assert await shim.pids() == [(await shim.wait_created()).pid]
    assert await shim.stats() == {"version": 0}
    with pytest.raises(InvalidParameterError, match="no limit called memory"):
        await shim.update({"memory": {}})
    with pytest.raises(InvalidParameterError, match="does not know 'dance'"):
        await shim.call("dance")
    with pytest.raises(ConflictError, match="Stop the container"):
        await shim.shutdown()
    with pytest.raises(InvalidParameterError, match=r"message\.signal"):
        await shim.call("kill", {"signal": "TERM"})


@scenario
async def test_want_of_memory_is_told_to_whoever_asked_for_it(host: Host) -> None:
    shim = await host.create("c", "/bin/sleep", "1000")
    with pytest.raises(ConflictError, match="is not running"):
        await shim.watch_memory()
    await shim.start()
    told = asyncio.Event()
    shim.on_oom = told.set
    await shim.watch_memory()
    await shim.watch_memory()
    alarm = host.root / "c" / "alarm"
    alarm.write_text("?")
    await shim.pids()
    assert not told.is_set()
    alarm.write_text("!")
    await told.wait()


@scenario
async def test_shutdown_of_a_created_container_kills_it(host: Host) -> None:
    shim = await host.create("web", "/bin/sleep", "1000")
    created = await shim.wait_created()
    await shim.shutdown()
    await gone(created.pid)
    await gone(shim.pid)


@scenario
async def test_a_killed_shim_takes_its_container_along(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    created = await shim.wait_created()
    waiting = asyncio.create_task(shim.wait())
    os.kill(shim.pid, signal.SIGKILL)
    await gone(created.pid)
    status = await waiting
    assert (status.exit_code, status.signal) == (137, 9)
    await shim.shutdown()


@scenario
async def test_a_cancelled_request_leaves_the_connection_usable(host: Host) -> None:
    shim = await host.run("web", "/bin/sleep", "1000")
    for _ in range(3):
        request = asyncio.create_task(shim.pids())
        await asyncio.sleep(0)
        request.cancel()
    assert len(await shim.pids()) == 1


@scenario
async def test_a_background_process_cannot_hold_the_exit_back(host: Host) -> None:
    shim = await host.run("web", "/bin/sh", "-c", "sleep 1000 & echo started")
    assert (await shim.wait()).exit_code == 0
    assert host.log("web") == "started\n"


@scenario
async def test_a_shim_nobody_can_find_any_more_ends(host: Host) -> None:
    shim = await host.run("web", "/bin/sh", "-c", "exit 0")
    await shim.wait()
    (host.root / "web" / "shim.sock").unlink()
    shim.close()
    await gone(shim.pid)
    assert host.has("web", "deleted")
