"""`kill -9` of the engine: containers run on, and what happened meanwhile is known afterwards."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.engine import DOCKER, Engine, page
from tests.integration.engine_crash.truth import (
    assert_true,
    container_id,
    kill,
    listed,
    rules,
    shim_of,
    spawner_of,
    state,
    status,
    until,
)

pytestmark = pytest.mark.integration


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_containers_run_on_and_answer_afterwards(engine: Engine) -> None:
    engine.docker(
        "run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox",
        "sh", "-c", "echo hello > /index.html; exec httpd -f -p 80 -h /",
    )  # fmt: skip
    engine.docker("run", "-d", "--name", "quiet", "busybox", "sleep", "600")
    engine.docker("pause", "quiet")
    port = int(engine.docker("port", "web", "80/tcp").stdout.rpartition(":")[2])
    pid, address = state(engine, "web")["Pid"], engine.docker("exec", "web", "hostname", "-i")
    assert page(port) == "hello\n"
    engine.kill()
    engine.start()
    assert status(engine, "web") == "running"
    assert state(engine, "web")["Pid"] == pid
    assert status(engine, "quiet") == "paused"
    assert page(port) == "hello\n"
    assert engine.docker("exec", "web", "hostname", "-i").stdout == address.stdout
    # The port is held again, so that nothing else on the host can take it.
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port)).close()
    engine.docker("unpause", "quiet")
    engine.docker("stop", "-t", "0", "web", "quiet")
    assert_true(engine)
    assert f'"{port}"' not in rules(engine)
    engine.docker("start", "web")
    assert engine.docker("ps", "-q").stdout.count("\n") == 1


def test_an_exit_while_the_engine_is_down_keeps_its_code_and_output(engine: Engine) -> None:
    go = engine.root / "go"
    go.mkdir()
    script = "while [ ! -e /go/now ]; do sleep 0.05; done; seq 20000; echo end >&2; exit 42"
    for name, flags in (("kept", ()), ("gone", ("--rm",))):
        engine.docker(
            "run", "-d", *flags, "--name", name, "-v", f"{go}:/go", "busybox", "sh", "-c", script
        )
    pids = [state(engine, name)["Pid"] for name in ("kept", "gone")]
    engine.kill()
    (go / "now").touch()
    until(lambda: all(gone(int(str(pid))) for pid in pids), "both have ended")
    engine.start()
    assert state(engine, "kept")["ExitCode"] == 42
    assert status(engine, "kept") == "exited"
    logs = engine.docker("logs", "kept")
    assert logs.stdout == "".join(f"{number}\n" for number in range(1, 20001))
    assert logs.stderr == "end\n"
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout == "kept\n"
    assert engine.docker("wait", "kept").stdout == "42\n"
    assert_true(engine)
    engine.docker("start", "kept")
    engine.docker("wait", "kept")
    assert_true(engine)


def test_no_line_is_lost_while_the_engine_comes_and_goes(engine: Engine) -> None:
    script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; sleep 0.01; done"
    engine.docker("run", "-d", "--name", "talk", "busybox", "sh", "-c", script)
    for _ in range(3):
        engine.kill()
        engine.start()
    assert engine.docker("wait", "talk").stdout == "0\n"
    expected = "".join(f"line {number}\n" for number in range(1, 301))
    assert engine.docker("logs", "talk").stdout == expected


def test_the_spawner_killed(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "old", "busybox", "sleep", "600")
    until(lambda: spawner_of(engine), "there is a spawner")
    kill(spawner_of(engine))
    engine.docker("run", "--rm", "busybox", "true")
    engine.docker("exec", "old", "true")
    assert_true(engine)


def test_a_shim_killed(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "-p", "80", "busybox", "sh", "-c", "sleep 600")
    kill(shim_of(engine, "box"))
    until(lambda: status(engine, "box") == "exited", "the container counts as dead")
    assert state(engine, "box")["ExitCode"] == 137
    assert_true(engine)
    engine.docker("start", "box")
    engine.docker("exec", "box", "true")
    engine.docker("rm", "-f", "box")
    assert_true(engine)


def test_a_shim_killed_while_the_engine_is_down(engine: Engine) -> None:
    for name, flags in (("box", ()), ("brief", ("--rm",))):
        engine.docker("run", "-d", *flags, "--name", name, "busybox", "sleep", "600")
    shims = [shim_of(engine, name) for name in ("box", "brief")]
    engine.kill()
    for shim in shims:
        kill(shim)
    engine.start()
    assert (status(engine, "box"), state(engine, "box")["ExitCode"]) == ("exited", 137)
    assert list(listed(engine)) == [container_id(engine, "box")]
    assert_true(engine)
    engine.docker("start", "box")
    engine.docker("exec", "box", "true")
    engine.docker("rm", "-f", "box")
    assert_true(engine)


def test_a_second_engine_on_the_same_root_is_refused(engine: Engine) -> None:
    second = Engine(engine.root, "--exec-root", str(engine.root / "exec2"))
    second.socket = engine.root / "k2.sock"
    second.log = engine.root / "second.log"
    with pytest.raises(AssertionError, match="in use by another engine"):
        second.start()
    assert second.log.read_text().count("\n") == 1
    engine.docker("run", "--rm", "busybox", "true")


def test_two_engines_side_by_side(engine: Engine, other: Engine) -> None:
    for each in (engine, other):
        each.docker("run", "-d", "--name", "web", "busybox", "sleep", "600")
    engine.docker("run", "-d", "--name", "one", "-p", "127.0.0.1::80", "busybox", "sleep", "600")
    port = engine.docker("port", "one", "80").stdout.split("\n")[0].rpartition(":")[2]
    taken = other.docker(
        "run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true", check=False
    )
    assert taken.returncode == 125
    assert f"port {port} is held by pid {engine.pid}" in taken.stderr
    other.kill()
    other.start()
    for each in (engine, other):
        assert each.docker("exec", "web", "echo", "yes").stdout == "yes\n"
        assert_true(each)
    other.docker("rm", "-f", "web")
    addresses = engine.docker("exec", "web", "ip", "-o", "-4", "addr", "show", "eth0").stdout
    assert "inet" in addresses
    engine.docker("exec", "web", "ping", "-c1", "-W5", _address(engine, "one"))


def _address(engine: Engine, name: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return engine.docker("inspect", "--format", template, name).stdout.strip()


def test_sigterm_with_live_restore_keeps_containers(engine: Engine) -> None:
    engine.restart_with("--live-restore=true")
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    pid = state(engine, "box")["Pid"]
    assert engine.terminate() == 0
    assert not gone(int(str(pid)))
    assert not engine.socket.exists()
    engine.start()
    assert state(engine, "box")["Pid"] == pid
    engine.docker("exec", "box", "true")
    assert_true(engine)


def test_sigterm_without_live_restore_stops_containers(engine: Engine) -> None:
    trap = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    engine.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", trap)
    until(lambda: "up" in engine.docker("logs", "box").stdout, "it runs")
    assert engine.terminate() == 0
    engine.start()
    assert (status(engine, "box"), state(engine, "box")["ExitCode"]) == ("exited", 3)
    assert engine.docker("logs", "box").stdout == "up\nbye\n"
    assert_true(engine)


def test_a_stale_socket_is_replaced(bare_engine: Engine) -> None:
    bare_engine.kill()
    assert bare_engine.socket.exists()
    bare_engine.start()
    assert bare_engine.docker("version").returncode == 0


def test_a_terminal_of_a_client_ends_with_the_engine(engine: Engine) -> None:
    assert DOCKER is not None
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    with subprocess.Popen(
        [DOCKER, "-H", engine.host, "logs", "-f", "box"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as follower:  # fmt: skip
        until(lambda: follower.poll() is None, "it follows")
        engine.kill()
        assert follower.wait(timeout=30) is not None
    engine.start()
    engine.docker("exec", "box", "true")
