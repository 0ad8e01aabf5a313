"""The verbs as a person types them, against a real engine and real containers."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration

_COMMAND = [sys.executable, "-c", "from kedge.cli.main import main; main()"]
_PATIENCE_S = 60.0


def spawn(engine: Engine, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*_COMMAND, "-H", engine.host, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def names(engine: Engine) -> str:
    return engine.kedge("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout


class Terminal:
    """The command at a terminal, as a person sees it."""

    def __init__(self, engine: Engine, *words: str) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execv(_COMMAND[0], [*_COMMAND, "-H", engine.host, *words])
        self.screen = ""

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            if select.select([self._descriptor], [], [], 0.1)[0]:
                self._read()

    def finish(self) -> int:
        """Return the exit code when the command has ended by itself."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                os.close(self._descriptor)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            if select.select([self._descriptor], [], [], 0.02)[0]:
                self._read()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self.screen += os.read(self._descriptor, 65536).decode(errors="replace")


def test_run_passes_streams_and_exit_codes_through(engine: Engine) -> None:
    assert engine.kedge("run", "--rm", "busybox", "echo", "hi").stdout == "hi\n"
    assert engine.kedge("run", "--rm", "-i", "busybox", "cat", text="typed\n").stdout == "typed\n"
    both = engine.kedge("run", "--rm", "busybox", "sh", "-c", "echo e >&2; exit 3", check=False)
    assert (both.returncode, both.stderr) == (3, "e\n")
    big = engine.kedge("run", "--rm", "busybox", "sh", "-c", "yes | head -c 3000000")
    assert len(big.stdout) == 3_000_000
    assert names(engine) == ""


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["busybox", "nope"], 127, "executable file not found"),
        (["busybox", "/etc"], 126, "container"),
        (["--memory", "x", "busybox"], 125, 'invalid argument "x" for "-m, --memory" flag'),
        (["--pull", "never", "nope"], 125, "No such image: nope:latest"),
        (["-it", "busybox", "sh"], 125, "the input device is not a TTY"),
    ],
)
def test_failures_of_run_are_one_line(
    engine: Engine, words: list[str], code: int, error: str
) -> None:
    done = engine.kedge("run", "--rm", *words, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert names(engine) == ""


def test_the_life_of_a_container(engine: Engine) -> None:
    container = engine.kedge(
        "run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sleep", "99"
    )
    assert len(container.stdout.strip()) == 64
    assert names(engine) == "web running\n"
    assert engine.kedge("port", "web", "80").stdout.startswith("127.0.0.1:")
    assert engine.kedge("exec", "-e", "A=1", "web", "sh", "-c", "echo $A").stdout == "1\n"
    assert engine.kedge("exec", "web", "sh", "-c", "exit 7", check=False).returncode == 7
    assert engine.kedge("exec", "web", "nope", check=False).returncode == 127
    assert "sleep 99" in engine.kedge("top", "web").stdout
    assert "web" in engine.kedge("stats", "--no-stream").stdout
    assert engine.kedge("inspect", "-f", "{{.State.Running}}", "web").stdout == "true\n"
    assert engine.kedge("rename", "web", "site").stdout == ""
    assert engine.kedge("pause", "site").stdout == "site\n"
    assert engine.kedge("unpause", "site").stdout == "site\n"
    assert engine.kedge("restart", "-t", "0", "site").stdout == "site\n"
    assert engine.kedge("kill", "site").stdout == "site\n"
    assert engine.kedge("wait", "site").stdout == "137\n"
    assert engine.kedge("start", "site").stdout == "site\n"
    assert engine.kedge("stop", "-t", "0", "site").stdout == "site\n"
    assert engine.kedge("rm", "site").stdout == "site\n"
    missing = engine.kedge("rm", "site", check=False)
    assert (missing.returncode, missing.stderr) == (1, "kedge: No such container: site\n")


def test_logs_and_start_attached(engine: Engine) -> None:
    engine.kedge("create", "--name", "job", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5")
    done = engine.kedge("start", "-a", "job", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")
    logs = engine.kedge("logs", "job")
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    assert engine.kedge("logs", "-n", "0", "job").stdout == ""
    assert engine.kedge("logs", "-t", "job").stdout.endswith("Z out\n")
    engine.kedge("rm", "job")


def test_images(engine: Engine) -> None:
    engine.kedge("tag", "busybox", "other:1")
    assert engine.kedge("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split() == [
        "busybox:latest",
        "other:1",
    ]
    assert engine.kedge("history", "-q", "other:1").stdout
    assert engine.kedge("__complete", "image").stdout.split() == ["busybox:latest", "other:1"]
    assert engine.kedge("rmi", "other:1").stdout == "Untagged: other:1\n"
    assert "TYPE" in engine.kedge("system", "df").stdout
    assert "kedge" in engine.kedge("version").stdout
    assert "Storage driver" in engine.kedge("info").stdout


def test_building(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG V=1\nCOPY . /x\nRUN echo $V > /v\n")
    (tmp_path / ".dockerignore").write_text("secret\n")
    (tmp_path / "secret").write_text("s")
    (tmp_path / "public").write_text("p")
    built = engine.kedge("build", "-t", "app", "--build-arg", "V=2", str(tmp_path))
    assert "Successfully tagged app:latest" in built.stdout
    listed = engine.kedge("run", "--rm", "app", "sh", "-c", "ls /x; cat /v")
    assert listed.stdout.split() == ["Dockerfile", "public", "2"]
    quiet = engine.kedge("build", "-q", "--build-arg", "V=2", str(tmp_path)).stdout.strip()
    assert quiet == engine.kedge("inspect", "-f", "{{.Id}}", "app").stdout.strip()
    from_stdin = engine.kedge(
        "build", "-t", "tiny", "-", text="FROM busybox\nRUN exit 4\n", check=False
    )
    assert from_stdin.returncode == 4
    assert from_stdin.stderr.startswith("kedge: build failed: The command")
    mistake = engine.kedge("build", "-", text="FROM busybox\nRUNN x\n", check=False)
    assert "dockerfile parse error on line 2" in mistake.stderr


def test_signals_reach_the_container(engine: Engine) -> None:
    script = "trap 'echo got; exit 9' USR1; echo ready; while true; do sleep 0.1; done"
    command = spawn(engine, "run", "--rm", "busybox", "sh", "-c", script)
    with command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGUSR1)
        assert command.stdout.readline() == "got\n"
        assert command.wait(timeout=_PATIENCE_S) == 9
    assert names(engine) == ""


def test_ctrl_c_ends_the_container_and_rm_leaves_nothing(engine: Engine) -> None:
    script = "trap 'exit 4' INT; echo ready; while true; do sleep 0.1; done"
    command = spawn(engine, "run", "--rm", "busybox", "sh", "-c", script)
    with command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=_PATIENCE_S) == 4
    assert names(engine) == ""


def test_a_shell_at_a_terminal(engine: Engine) -> None:
    terminal = Terminal(engine, "run", "--rm", "-it", "busybox", "sh")
    terminal.wait_for("# ")
    terminal.type("tty; echo $((6 * 7))\n")
    terminal.wait_for("42")
    assert "/dev/pts/" in terminal.screen or "/dev/console" in terminal.screen
    terminal.type("exit 6\n")
    assert terminal.finish() == 6
    assert names(engine) == ""


def test_detaching_and_attaching_again(engine: Engine) -> None:
    terminal = Terminal(engine, "run", "-it", "--name", "shell", "busybox", "sh")
    terminal.wait_for("# ")
    terminal.type("\x10\x11")
    assert terminal.finish() == 0
    assert names(engine) == "shell running\n"
    terminal = Terminal(engine, "attach", "shell")
    terminal.type("echo back; exit 3\n")
    terminal.wait_for("back")
    assert terminal.finish() == 3
    engine.kedge("rm", "shell")


def test_tables_are_those_of_docker(engine: Engine) -> None:
    engine.kedge("run", "-d", "--name", "web", "-p", "127.0.0.1:0:80", "busybox", "sleep", "99")
    container = "{{.ID}} {{.Image}} {{.Command}} {{.Ports}} {{.Names}} {{.Labels}} {{.Networks}}"
    image = r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}"
    for words in (
        ["ps", "-a", "--format", container],
        ["ps", "-aq", "--no-trunc"],
        ["images", "-q"],
        ["images", "--format", image],
        ["history", "--format", "{{.ID}} {{.CreatedBy}} {{.Size}} {{.Comment}}", "busybox"],
        ["inspect", "-f", "{{json .HostConfig.PortBindings}} {{.Config.Cmd}}", "web"],
        ["port", "web"],
    ):
        assert engine.kedge(*words).stdout == engine.docker(*words).stdout
    engine.kedge("rm", "-f", "web")
