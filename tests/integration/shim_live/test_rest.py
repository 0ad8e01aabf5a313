"""A shim whose worker has gone to rest is to everybody outside what it was before."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError
from kedge.shim.client import Shim
from kedge.shim.exits import load_exit
from tests.integration.shim_live.host import (
    Host,
    Wishes,
    attached,
    gone,
    receive,
    scenario,
    unframe,
)

pytestmark = pytest.mark.integration


def children_of(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def init_of(shim: Shim) -> int:
    assert shim.started is not None
    return shim.started.pid


def orphans_of(shim: Shim) -> set[int]:
    """Return the holder's children that are neither the init nor a worker."""
    others = children_of(shim.pid) - {init_of(shim)}
    return {pid for pid in others if Path(f"/proc/{pid}/comm").read_text() != "kedge-shim\n"}


async def until(condition: Callable[[], bool]) -> None:
    """Return when something has come true; what a scenario takes is bounded."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def resting(shim: Shim) -> None:
    """Return when the shim is a holder with the container's init, and nobody else."""
    await until(lambda: children_of(shim.pid) == {init_of(shim)})


@scenario
async def test_a_resting_shim_runs_execs_takes_input_and_tells_the_end(host: Host) -> None:
    script = "printf 'half '; echo to-err >&2; read line; echo $line; exit 5"
    wishes = Wishes(stdin=True, stdin_once=True)
    shim = await host.run("box", "sh", "-c", script, wishes=wishes)
    await resting(shim)
    session = await shim.exec(attached("first", "echo", "still", "here"))
    assert session.stream is not None
    assert unframe(await receive(session.stream)) == b"still here\n"
    assert (await session.wait()).exit_code == 0
    stream = await shim.attach(stdin=True, stdout=True)
    await asyncio.get_running_loop().sock_sendall(stream, b"a line\n")
    assert (await shim.wait()).exit_code == 5
    assert unframe(await receive(stream)) == b"a line\n"
    # What was written without a newline before the rest is the beginning of that line.
    assert sorted(host.log("box").splitlines()) == ["half a line", "to-err"]
    await shim.shutdown()
    await gone(shim.pid)


@scenario
async def test_an_end_during_the_rest_is_told_and_kept(host: Host) -> None:
    wishes = Wishes(stdin=True)
    shim = await host.run("box", "sh", "-c", "trap 'exit 9' TERM; echo set; read x", wishes=wishes)
    await until(lambda: host.log("box") == "set\n")
    await resting(shim)
    os.kill(init_of(shim), signal.SIGTERM)
    assert (await shim.wait()).exit_code == 9
    status = load_exit(shim.run_dir)
    assert status is not None
    assert status == await shim.wait()
    await shim.shutdown()
    await gone(shim.pid)


@scenario
async def test_an_engine_finds_a_resting_shim_by_its_socket(host: Host) -> None:
    shim = await host.run("box", "sleep", "9999")
    session = await shim.exec(attached("past", "sh", "-c", "exit 4"))
    assert (await session.wait()).exit_code == 4
    assert session.stream is not None
    session.stream.close()
    await resting(shim)
    started = shim.started
    shim.close()
    again = await Shim.connect(shim.run_dir)
    host.adopt(again)
    assert (again.state, again.started, again.pid) == ("running", started, shim.pid)
    assert (await again.execs["past"].wait()).exit_code == 4
    with pytest.raises(ConflictError):
        await again.exec(attached("past", "true"))
    await again.kill(signal.SIGKILL)
    assert (await again.wait()).exit_code == 137


@scenario
async def test_a_paused_container_and_a_terminal_rest_too(host: Host) -> None:
    wishes = Wishes(terminal=True, stdin=True)
    shim = await host.run("box", "sh", "-c", "stty -echo; read x; echo got $x", wishes=wishes)
    await shim.pause()
    await resting(shim)
    await shim.resume()
    await shim.resize(101, 31)
    stream = await shim.attach(stdin=True, stdout=True)
    await asyncio.get_running_loop().sock_sendall(stream, b"keys\n")
    assert (await shim.wait()).exit_code == 0
    assert b"got keys\r\n" in await receive(stream)


@scenario
async def test_the_holders_death_ends_a_resting_container(host: Host) -> None:
    shim = await host.run("box", "sleep", "9999")
    await resting(shim)
    pid = init_of(shim)
    os.kill(shim.pid, signal.SIGKILL)
    status = await shim.wait()
    assert (status.exit_code, status.signal) == (137, 9)
    await gone(pid)


@scenario
async def test_a_workers_death_ends_the_shim_and_the_container(host: Host) -> None:
    shim = await host.create("box", "sleep", "9999")
    workers = children_of(shim.pid)
    # With a client, the worker does not rest.
    stream = await shim.attach(stdout=True)
    await shim.start()
    pid = init_of(shim)
    (worker,) = workers - {pid}
    os.kill(worker, signal.SIGKILL)
    status = await shim.wait()
    assert (status.exit_code, status.signal) == (137, 9)
    await gone(pid)
    await gone(shim.pid)
    stream.close()


@scenario
async def test_orphans_of_a_container_without_process_ids_of_its_own_are_reaped(host: Host) -> None:
    script = "(read x <&3 &) 3<&0; sleep 9999"
    wishes = Wishes(own_pids=False, stdin=True, stdin_once=True)
    shim = await host.run("box", "sh", "-c", script, wishes=wishes)
    await until(lambda: len(orphans_of(shim)) == 1)
    (orphan,) = orphans_of(shim)
    await until(lambda: children_of(shim.pid) == {init_of(shim), orphan})
    os.kill(orphan, signal.SIGKILL)
    await resting(shim)
    await shim.kill(signal.SIGKILL)
    assert (await shim.wait()).exit_code == 137
    await shim.shutdown()
    await gone(shim.pid)
