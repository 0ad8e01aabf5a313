"""`kedge-runtime` as its callers use it: separate processes and a state directory."""

import contextlib
import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.integration.runtime_container.command import Command
from tests.integration.runtime_container.conftest import read_all

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]


def test_a_whole_life(command: Command, shell_spec: Spec, tmp_path: Path) -> None:
    command.write(shell_spec("exec sleep 60"))
    pid_file = tmp_path / "pid"
    command("create", "-b", str(command.bundle), "--pid-file", str(pid_file), "c")
    state = command.state("c")
    assert state["status"] == "created"
    assert state["pid"] == int(pid_file.read_text())
    assert state["bundle"] == str(command.bundle)
    assert "exists already" in command("create", "-b", str(command.bundle), "c", code=1)
    command("start", "c")
    assert command.state("c")["status"] == "running"
    assert "it is running" in command("start", "c", code=1)
    assert "it is running" in command("delete", "c", code=1)
    assert command("list", "-q") == "c\n"
    assert "sleep 60" in command("ps", "c")
    command("pause", "c")
    assert command.state("c")["status"] == "paused"
    command("resume", "c")
    command("kill", "c", "KILL")
    wait_until_stopped(command)
    assert command.state("c")["pid"] == 0
    command("delete", "c")
    assert "container c does not exist" in command("state", "c", code=1)
    last = json.loads((command.root / "log").read_text().splitlines()[-1])
    assert last["level"] == "error"
    assert last["msg"] == "container c does not exist"


def wait_until_stopped(command: Command) -> None:
    pid = json.loads((command.root / "c/state.json").read_text())["pid"]
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        select.select([pidfd], [], [], 10)
        os.close(pidfd)


def test_run_gives_the_program_s_exit_code(command: Command, shell_spec: Spec) -> None:
    command.write(shell_spec("echo out; exit 7"))
    assert command("run", "-b", str(command.bundle), "c", code=7) == "out\n"
    assert command("list", "-q") == ""


def test_run_of_a_missing_program_leaves_nothing(command: Command, shell_spec: Spec) -> None:
    document = shell_spec("")
    process = document["process"]
    assert isinstance(process, dict)
    process["args"] = ["nosuch"]
    command.write(document)
    text = command("run", "-b", str(command.bundle), "c", code=1)
    assert 'exec: "nosuch": executable file not found in $PATH' in text
    assert command("list", "-q") == ""


def test_exec(command: Command, shell_spec: Spec) -> None:
    command.write(shell_spec("exec sleep 60"))
    command("run", "--detach", "-b", str(command.bundle), "c")
    assert command("exec", "-e", "A=b", "--cwd", "/bin", "c", "sh", "-c", "echo $A; pwd") == (
        "b\n/bin\n"
    )
    assert command("exec", "--user", "5:6", "c", "sh", "-c", "id; exit 3", code=3).startswith(
        "uid=5 gid=6"
    )
    assert "executable file not found" in command("exec", "c", "nosuch", code=255)


def test_limits_counters_and_processes(command: Command, shell_spec: Spec) -> None:
    document = shell_spec("exec sleep 60")
    document["annotations"] = {"a": "b"}
    command.write(document)
    command("run", "-d", "-b", str(command.bundle), "c")
    command("update", "--memory", "64m", "--cpu-share", "300", "--pids-limit", "40", "c")
    event = json.loads(command("events", "--stats", "c"))
    assert event["type"] == "stats"
    assert event["data"]["memory"]["usage"]["limit"] == 64 << 20
    assert event["data"]["pids"] == {"current": 1, "limit": 40}
    assert "needs a limit" in command("update", "c", code=1)
    row = json.loads(command("list", "--format", "json"))[0]
    assert row["annotations"] == {"a": "b"}
    assert row["owner"] == "root"
    pid = str(row["pid"])
    assert json.loads(command("ps", "-f", "json", "c")) == [row["pid"]]
    heading, line = command("ps", "c", "-o", "comm,pid").splitlines()
    assert heading.split() == ["COMMAND", "PID"]
    assert line.split()[1] == pid


def test_the_template_for_users_without_privileges_runs(command: Command) -> None:
    command("spec", "--rootless", "-b", str(command.bundle))
    document = json.loads((command.bundle / "config.json").read_text())
    document["process"] |= {"terminal": False, "args": ["sh", "-c", "cat /proc/self/uid_map"]}
    command.write(document)
    assert command("run", "-b", str(command.bundle), "c").split() == ["0", "0", "1"]


def test_a_terminal_goes_to_the_console_socket(
    command: Command, shell_spec: Spec, tmp_path: Path
) -> None:
    document = shell_spec("tty; echo done")
    process = document["process"]
    assert isinstance(process, dict)
    process["terminal"] = True
    command.write(document)
    assert "--console-socket" in command("create", "-b", str(command.bundle), "c", code=1)
    path = tmp_path / "console"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        command("run", "-d", "--console-socket", str(path), "-b", str(command.bundle), "c")
        connection, _address = listener.accept()
        with connection:
            _data, fds, _flags, _from = socket.recv_fds(connection, 64, 4)
    try:
        assert read_all(fds[0]) == "/dev/pts/0\r\ndone\r\n"
    finally:
        os.close(fds[0])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nothing"], "unknown command 'nothing'"),
        (["--nothing"], "unknown option --nothing"),
        (["start"], "exactly one container id"),
        (["kill", "x", "NOTHING"], "unknown signal 'NOTHING'"),
        (["state", "../x"], "invalid container id"),
        (["create", "-b", "/no/such", "x"], "no such file: /no/such/config.json"),
    ],
)
def test_mistakes_are_one_line(command: Command, words: list[str], text: str) -> None:
    output = command(*words, code=1)
    assert text in output
    assert output.count("\n") == 1
