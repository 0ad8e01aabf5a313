"""A container that wants more than it may have: it alone is hurt, and everybody is told."""

import contextlib
import time
from pathlib import Path

import pytest

from kedge.lib.clock import SYSTEM_CLOCK
from tests.engine import Engine

pytestmark = pytest.mark.integration

FILL = ("tail", "/dev/zero")
MEMORY = ("--memory", "24m", "--memory-swap", "24m")


BOX = "box"
FLOOD = "yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 60000000"


def state(engine: Engine, name: str) -> tuple[str, bool, int]:
    found = engine.docker(
        "inspect", "-f", "{{.State.Status}} {{.State.OOMKilled}} {{.State.ExitCode}}", name
    ).stdout.split()
    return found[0], found[1] == "true", int(found[2])


def actions(engine: Engine, *wanted: str) -> list[str]:
    words = [
        "events",
        "--since",
        "0",
        "--until",
        f"{SYSTEM_CLOCK.time_ns() / 1e9:.6f}",
        "--filter",
        "container=box",
    ]
    said = engine.docker(*words, "--format", "{{.Action}}").stdout.splitlines()
    return [action for action in said if action in wanted]


def kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_the_first_process_out_of_memory(engine: Engine) -> None:
    before = len(actions(engine, "oom"))
    done = engine.docker("run", "--name", BOX, *MEMORY, "busybox", *FILL, check=False)
    assert done.returncode == 137
    assert state(engine, BOX) == ("exited", True, 137)
    assert actions(engine, "oom", "die")[before:] == ["oom", "die"]


def test_another_process_out_of_memory_is_told_while_the_container_lives(
    engine: Engine,
) -> None:
    engine.docker("run", "-d", "--name", BOX, "busybox", "sleep", "600")
    # A limit that comes later counts as well.
    engine.docker("update", *MEMORY, BOX)
    with contextlib.closing(engine.client()) as client:
        query = {"filters": '{"event": ["oom"], "container": ["box"]}'}
        stream = client.request("GET", "/events", query)
        assert engine.docker("exec", BOX, *FILL, check=False).returncode == 137
        assert next(iter(stream.messages()))["Action"] == "oom"
    assert state(engine, BOX) == ("running", True, 0)
    assert engine.docker("exec", BOX, "echo", "well").stdout == "well\n"
    engine.docker("restart", "-t", "0", BOX)
    assert state(engine, BOX) == ("running", False, 0)


def test_a_fork_bomb_stays_where_it_is(engine: Engine) -> None:
    script = "(yes 600 | xargs -n 1 -P 9999 sleep) & exec sleep 600"
    engine.docker("run", "-d", "--name", BOX, "--pids-limit", "32", "busybox", "sh", "-c", script)
    while (found := _pids(engine))["current"] < 30:
        time.sleep(0.01)
    assert found["limit"] == 32
    assert _pids(engine)["current"] <= 32
    assert engine.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"
    full = engine.docker(
        "exec", BOX, "sh", "-c", "for i in 1 2 3 4; do sleep 600 & done", check=False
    )
    assert "can't fork" in full.stderr
    engine.docker("kill", BOX)
    assert state(engine, BOX)[0] == "exited"


def _pids(engine: Engine) -> dict[str, int]:
    found = engine.get("/containers/box/stats?stream=false&one-shot=true")["pids_stats"]
    assert isinstance(found, dict)
    return {key: int(str(found[key])) for key in ("current", "limit")}


def test_a_flood_fills_neither_memory_nor_disk(engine: Engine) -> None:
    engine.docker(
        "run", "-d", "--name", BOX, "--log-opt", "max-size=1m", "--log-opt", "max-file=3",
        "busybox", "sh", "-c", f"until [ -e /go ]; do sleep 0.02; done; {FLOOD}; echo; echo end;"
        "sleep 600",
    )  # fmt: skip
    pid = int(engine.docker("inspect", "-f", "{{.State.Pid}}", BOX).stdout)
    status = Path(f"/proc/{pid}/status").read_text()
    shim = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid"))
    before = kib(engine.pid) + kib(shim)
    with contextlib.closing(engine.client()) as client:
        # Somebody who asks for everything and reads nothing of it.
        client.request("GET", f"/containers/{BOX}/logs", {"stdout": True, "follow": True})
        engine.docker("exec", BOX, "touch", "/go")
        while engine.docker("logs", "--tail", "1", BOX).stdout != "end\n":
            time.sleep(0.02)
        assert kib(engine.pid) + kib(shim) < before + 24 * 1024
    folder = (
        engine.root
        / "data/containers"
        / engine.docker("inspect", "-f", "{{.Id}}", BOX).stdout.strip()
    )
    sizes = [file.stat().st_size for file in folder.glob("*-json.log*")]
    assert len(sizes) == 3
    assert max(sizes) < 1_200_000


def test_an_attached_reader_holds_a_flood_back_and_lets_it_go(engine: Engine) -> None:
    engine.docker("create", "--name", BOX, "busybox", "sh", "-c", f"{FLOOD}; echo; echo end")
    with contextlib.closing(engine.client()) as client:
        client.request("POST", f"/containers/{BOX}/attach", {"stream": True, "stdout": True})
        engine.docker("start", BOX)
        # It waits for who is attached, and the engine for nobody.
        assert engine.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"
        assert state(engine, BOX)[0] == "running"
    assert engine.docker("wait", BOX).stdout == "0\n"
    assert engine.docker("logs", "--tail", "1", BOX).stdout == "end\n"
