"""Interactive use of the official docker CLI."""

import pytest

from tests.engine import Engine
from tests.integration.engine_crash.truth import until
from tests.interop.docker_cli_verbs.terminal import Terminal

pytestmark = pytest.mark.interop

_DETACH = "\x10\x11"
"""Ctrl-P Ctrl-Q."""


def test_a_shell_on_a_terminal(engine: Engine) -> None:
    with Terminal(engine, "run", "-it", "--rm", "--name", "box", "busybox", "sh") as terminal:
        terminal.expect("#")
        terminal.type("stty size; tty; echo TERM=$TERM\n")
        terminal.expect("33 101")
        terminal.expect("/dev/")
        terminal.expect("TERM=xterm")
        terminal.type("sleep 600\n")
        until(lambda: "sleep 600" in engine.docker("top", "box").stdout, "the program runs")
        terminal.type("\x03")
        terminal.expect("^C")
        terminal.type("exit 5\n")
        assert terminal.wait() == 5
    assert engine.docker("ps", "-aq").stdout == ""


def test_control_c_ends_a_program_that_lets_it(engine: Engine) -> None:
    script = "trap 'echo caught; exit 9' INT; echo up; while :; do sleep 0.1; done"
    with Terminal(engine, "run", "-it", "--rm", "busybox", "sh", "-c", script) as terminal:
        terminal.expect("up")
        terminal.type("\x03")
        terminal.expect("caught")
        assert terminal.wait() == 9


def test_detach_attach_and_end(engine: Engine) -> None:
    with Terminal(engine, "run", "-it", "--name", "box", "busybox", "sh") as terminal:
        terminal.expect("#")
        terminal.type("echo one; X=kept\n")
        terminal.expect("one\r\n")
        terminal.type(_DETACH)
        assert terminal.wait() == 0
    assert engine.docker("ps", "--format", "{{.Names}}").stdout == "box\n"
    with Terminal(engine, "attach", "--detach-keys", "ctrl-a,x", "box") as terminal:
        terminal.type("echo is $X\n")
        terminal.expect("is kept")
        terminal.type("\x01x")
        # The CLI's own way to say that it detached.
        terminal.expect("read escape sequence")
        assert terminal.wait() == 1
    with Terminal(engine, "attach", "box") as terminal:
        terminal.type("exit 4\n")
        assert terminal.wait() == 4
    assert engine.docker("wait", "box").stdout == "4\n"
    assert "one" in engine.docker("logs", "box").stdout


def test_exec_on_a_terminal(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    with Terminal(engine, "exec", "-it", "box", "sh", rows=20, columns=77) as terminal:
        terminal.expect("#")
        terminal.type("stty size\n")
        terminal.expect("20 77")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6
    with Terminal(engine, "exec", "-it", "box", "sh") as terminal:
        terminal.expect("#")
        terminal.type(_DETACH)
        terminal.wait()
    assert engine.docker("exec", "box", "echo", "alive").stdout == "alive\n"


def test_start_attached_on_a_terminal(engine: Engine) -> None:
    engine.docker("create", "-it", "--name", "box", "busybox", "sh")
    with Terminal(engine, "start", "-ai", "box") as terminal:
        terminal.expect("#")
        terminal.type("exit 3\n")
        assert terminal.wait() == 3
