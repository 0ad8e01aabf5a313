"""Real containers through the spawner, the shim and the engine's client."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys

import pytest

from kedge.errdefs import ConflictError, ForbiddenError, NotFoundError
from kedge.logdrivers.jsonfile import JsonFileReader
from kedge.logdrivers.reading import ReadOptions
from kedge.logdrivers.watch import DirectoryWatcher
from kedge.runtime.cgroups import make_cgroup
from kedge.shim.client import Shim
from kedge.shim.exits import load_exit
from kedge.shim.messages import encode_create
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

TERMINAL = Wishes(terminal=True, stdin=True)


@scenario
async def test_echo(host: Host) -> None:
    shim = await host.create("box", "sh", "-c", "echo out; echo err >&2; exit 7")
    stream = await shim.attach(stdout=True, stderr=True)
    await shim.start()
    assert (await shim.wait()).exit_code == 7
    output = await receive(stream)
    assert (unframe(output, 1), unframe(output, 2)) == (b"out\n", b"err\n")
    assert sorted(host.log("box").split()) == ["err", "out"]
    cgroup = make_cgroup(shim.cgroup_path)
    assert cgroup.exists()
    await shim.shutdown()
    assert not cgroup.exists()
    await gone(shim.pid)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (("nothing",), NotFoundError, 'exec: "nothing": executable file not found in $PATH'),
        (("/bin",), ForbiddenError, 'exec: "/bin": .*'),
    ],
)
def test_program_that_cannot_start(args: tuple[str], error: type[Exception], message: str) -> None:
    @scenario
    async def check(host: Host) -> None:
        shim = await host.create("box", *args)
        with pytest.raises(error, match=message.replace("$", "[$]")):
            await shim.start()
        await shim.shutdown()
        await gone(shim.pid)

    check()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_signals(signum: signal.Signals) -> None:
    @scenario
    async def check(host: Host) -> None:
        script = "trap 'echo got; exit 3' TERM USR1; echo ready; while :; do sleep 0.01; done"
        shim = await host.create("box", "sh", "-c", script)
        stream = await shim.attach(stdout=True)
        await shim.start()
        await receive(stream, b"ready\n")
        await shim.kill(signum)
        status = await shim.wait()
        if signum == signal.SIGKILL:
            assert (status.exit_code, status.signal) == (137, 9)
        else:
            assert (status.exit_code, status.signal) == (3, 0)
            assert b"got\n" in await receive(stream)
        stream.close()

    check()


@scenario
async def test_init_gets_default_signals_and_no_foreign_descriptor(host: Host) -> None:
    script = "cat /proc/self/status; ls /proc/self/fd; cat /proc/self/oom_score_adj"
    shim = await host.run("box", "sh", "-c", script)
    assert (await shim.wait()).exit_code == 0
    log = host.log("box")
    fields = dict(line.split(":\t", 1) for line in log.splitlines() if ":\t" in line)
    assert int(fields["SigIgn"], 16) == 0
    assert int(fields["SigBlk"], 16) == 0
    assert log.splitlines()[-5:-1] == ["0", "1", "2", "3"]
    assert log.splitlines()[-1] == "0"


@scenario
async def test_terminal_with_resize(host: Host) -> None:
    shim = await host.create("box", "sh", wishes=TERMINAL)
    await shim.resize(100, 40)
    stream = await shim.attach(stdin=True, stdout=True, stderr=True)
    await shim.start()
    stream.send(b"stty size; tty=$(readlink /proc/self/fd/0); echo on $tty\n")
    assert b"on /dev/pts/0" in await receive(stream, b"on /dev/pts/0")
    await shim.resize(132, 43)
    stream.send(b"stty size; exit 4\n")
    output = await receive(stream)
    assert b"43 132\r\n" in output
    assert (await shim.wait()).exit_code == 4
    assert "40 100\r\n" in host.log("box")


@scenario
async def test_end_of_input_is_typed_into_a_terminal(host: Host) -> None:
    shim = await host.create("box", "cat", wishes=TERMINAL)
    stream = await shim.attach(stdin=True, stdout=True, stderr=True)
    await shim.start()
    stream.send(b"hello\n")
    await receive(stream, b"hello\r\nhello\r\n")
    stream.shutdown(socket.SHUT_WR)
    assert (await shim.wait()).exit_code == 0
    stream.close()


@scenario
async def test_stdin_with_half_close(host: Host) -> None:
    shim = await host.create("box", "md5sum", wishes=Wishes(stdin=True))
    stream = await shim.attach(stdin=True, stdout=True, stderr=True)
    await shim.start()
    payload = os.urandom(3_000_000)
    await asyncio.get_running_loop().sock_sendall(stream, payload)
    stream.shutdown(socket.SHUT_WR)
    expected = hashlib.md5(payload).hexdigest().encode()
    assert unframe(await receive(stream)).split()[0] == expected


@scenario
async def test_large_output_is_exact_for_client_and_log(host: Host) -> None:
    size = 50_000_000
    script = f"seq 1 10000000 | head -c {size}"
    shim = await host.create("box", "sh", "-c", script)
    stream = await shim.attach(stdout=True)
    await shim.start()
    expected = "".join(f"{number}\n" for number in range(1, 7_000_000)).encode()[:size]
    assert unframe(await receive(stream)) == expected
    assert (await shim.wait()).exit_code == 0
    reader = JsonFileReader(str(host.root / "box/x.log"), DirectoryWatcher())
    digest = hashlib.sha256()
    for group in reader.read(ReadOptions()):
        for batch in group:
            digest.update(batch.data)
    assert digest.digest() == hashlib.sha256(expected).digest()


@scenario
async def test_killed_shim_kills_the_container(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")
    created = await shim.wait_created()
    os.kill(shim.pid, signal.SIGKILL)
    status = await shim.wait()
    assert (status.exit_code, status.signal) == (137, 9)
    await gone(created.pid)
    assert not make_cgroup(shim.cgroup_path).exists()


@scenario
async def test_killed_engine_leaves_the_container_and_loses_no_line(host: Host) -> None:
    request = host.request(
        "box", "sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done"
    )
    (host.root / "request.json").write_text(json.dumps(encode_create(request)))
    engine = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.shim_live.engine",
        str(host.root),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert engine.stdout is not None
    assert await engine.stdout.readline() == b"started\n"
    engine.kill()
    await engine.wait()
    shim = await Shim.connect(request.run_dir)
    host.adopt(shim)
    assert shim.state in {"running", "exited"}
    assert shim.cgroup_path == request.cgroup_path
    assert (await shim.wait()).exit_code == 0
    assert host.log("box").split() == [str(number) for number in range(2000)]
    assert load_exit(request.run_dir) == await shim.wait()


@scenario
async def test_killed_engine_takes_a_container_that_was_not_started(host: Host) -> None:
    shim = await host.create("box", "sleep", "1000")
    created = await shim.wait_created()
    shim.close()
    await gone(created.pid)
    await gone(shim.pid)
    assert not make_cgroup(shim.cgroup_path).exists()


@scenario
async def test_exec(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")
    session = await shim.exec(attached("e1", "sh", "-c", "cat; exit 5", stdin=True))
    assert session.stream is not None
    session.stream.send(b"through\n")
    session.stream.shutdown(socket.SHUT_WR)
    assert (await session.wait()).exit_code == 5
    assert unframe(await receive(session.stream)) == b"through\n"
    with pytest.raises(NotFoundError, match="executable file not found"):
        await shim.exec(attached("e2", "nothing"))
    inside = await shim.exec(attached("e3", "readlink", "/proc/self/ns/net"))
    assert inside.stream is not None
    own = unframe(await receive(inside.stream)).decode().strip()
    assert own == os.readlink(f"/proc/{(await shim.wait_created()).pid}/ns/net")
    assert own != os.readlink("/proc/self/ns/net")


@scenario
async def test_exec_with_a_terminal(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")
    session = await shim.exec(attached("e1", "sh", stdin=True, terminal=True))
    assert session.stream is not None
    await session.resize(90, 30)
    session.stream.send(b"stty size; exit 2\n")
    assert b"30 90\r\n" in await receive(session.stream)
    assert (await session.wait()).exit_code == 2


@scenario
async def test_many_execs_at_once(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")

    async def run_one(number: int) -> None:
        session = await shim.exec(
            attached(f"e{number}", "sh", "-c", f"echo {number}; exit {number}")
        )
        assert session.stream is not None
        assert unframe(await receive(session.stream)) == b"%d\n" % number
        assert (await session.wait()).exit_code == number

    await asyncio.gather(*(run_one(number) for number in range(20)))


@scenario
async def test_execs_end_with_the_container(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")
    session = await shim.exec(attached("e1", "sleep", "1000"))
    await shim.kill(signal.SIGKILL)
    assert (await shim.wait()).exit_code == 137
    assert (await session.wait()).exit_code == 137
    assert session.stream is not None
    assert await receive(session.stream) == b""


@scenario
async def test_pause_and_resume(host: Host) -> None:
    shim = await host.create("box", "sh", "-c", "while :; do echo tick; sleep 0.01; done")
    stream = await shim.attach(stdout=True)
    await shim.start()
    await receive(stream, b"tick")
    await shim.pause()
    with pytest.raises(ConflictError, match="is paused"):
        await shim.exec(attached("e1", "true"))
    await shim.resume()
    await receive(stream, b"tick")
    await shim.pause()
    await shim.kill(signal.SIGKILL)
    assert (await shim.wait()).exit_code == 137
    stream.close()


@scenario
async def test_numbers_and_limits(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")
    created = await shim.wait_created()
    assert await shim.pids() == [created.pid]
    stats = await shim.stats()
    assert isinstance(stats["memory"], dict)
    assert stats["pids"] == {"current": 1, "limit": -1}
    await shim.update({"pids": {"limit": 17}})
    assert (await shim.stats())["pids"] == {"current": 1, "limit": 17}


@scenario
async def test_out_of_memory_is_told(host: Host) -> None:
    script = "x=$(head -c 100000000 /dev/zero | busybox tr '\\0' x); echo survived"
    shim = await host.run("box", "sh", "-c", script, wishes=Wishes(memory_limit=16 << 20))
    status = await shim.wait()
    assert status.oom_killed
    assert "survived" not in host.log("box")


@scenario
async def test_with_the_hosts_process_ids_everything_dies_with_init(host: Host) -> None:
    script = "sleep 1000 & echo $!"
    shim = await host.run("box", "sh", "-c", script, wishes=Wishes(own_pids=False))
    assert (await shim.wait()).exit_code == 0
    await gone(int(host.log("box")))


@scenario
async def test_without_a_network_namespace_of_its_own(host: Host) -> None:
    shim = await host.run("box", "readlink", "/proc/self/ns/net", wishes=Wishes(own_netns=False))
    await shim.wait()
    assert host.log("box").strip() == os.readlink("/proc/self/ns/net")


@scenario
async def test_a_shim_that_waited_with_a_namespace_leaves_it(host: Host) -> None:
    for name in ("one", "two"):
        # Time for a shim to get ready.
        await host.spawner.start()
        await asyncio.sleep(0.3)
        wishes = Wishes(own_netns=False)
        shim = await host.run(name, "readlink", "/proc/self/ns/net", wishes=wishes)
        await shim.wait()
        assert host.log(name).strip() == os.readlink("/proc/self/ns/net")
        assert os.readlink(f"/proc/{shim.pid}/ns/net") == os.readlink("/proc/self/ns/net")


@scenario
async def test_netns_comes_as_descriptors_and_can_be_configured(host: Host) -> None:
    request = host.request("box", "cat", "/sys/class/net/lo/operstate")
    shim = await host.spawner.create(request)
    host.adopt(shim)
    assert shim.netns_fd >= 0
    assert os.fstat(shim.netns_fd).st_ino != os.stat("/proc/self/ns/net").st_ino
    with socket.socket(fileno=os.dup(shim.rtnl_fd)) as route:
        assert route.family == socket.AF_NETLINK
    await shim.wait_created()
    shim.close_netns()
    await shim.start()
    await shim.wait()
    assert host.log("box") == "down\n"


@scenario
async def test_fifty_at_once(host: Host) -> None:
    async def run_one(number: int) -> None:
        shim = await host.run(f"c{number}", "sh", "-c", f"echo {number}; exit {number}")
        assert (await shim.wait()).exit_code == number
        assert host.log(f"c{number}") == f"{number}\n"
        await shim.shutdown()

    await asyncio.gather(*(run_one(number) for number in range(50)))


@scenario
async def test_log_is_rotated_while_it_is_followed(host: Host) -> None:
    wishes = Wishes(max_size=100_000)
    script = "seq 1 30000"
    watcher = DirectoryWatcher()
    shim = await host.create("box", "sh", "-c", script, wishes=wishes)
    ended = asyncio.Event()
    reader = JsonFileReader(str(host.root / "box/x.log"), watcher)

    async def follow() -> list[bytes]:
        follower = reader.follow(ReadOptions(), ended)
        return [batch.data async for group in follower for batch in group]

    following = asyncio.create_task(follow())
    await shim.start()
    await shim.wait()
    ended.set()
    data = b"".join(await following)
    watcher.close()
    last = b"".join(b"%d\n" % number for number in range(29_000, 30_001))
    assert data.endswith(last)
    files = sorted(file.name for file in (host.root / "box").glob("x.log*"))
    assert files == ["x.log", "x.log.1", "x.log.2", "x.log.3", "x.log.4"]


@scenario
async def test_detached_exec_goes_on_without_anybody(host: Host) -> None:
    shim = await host.run("box", "sleep", "1000")
    session = await shim.exec(
        attached("e1", "sh", "-c", "yes | head -c 1000000")._replace(stdout=False, stderr=False)
    )
    assert session.stream is None
    assert (await session.wait()).exit_code == 0
