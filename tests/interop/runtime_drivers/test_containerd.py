"""``ctr run --runc-binary kedge-runtime``: containerd's own shim above kedge's runtime."""

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.integration.engine_crash.truth import until
from tests.interop.runtime_drivers.conftest import IMAGE, RUNTIME, UNTIL_USR1, Driver

pytestmark = pytest.mark.interop


def options(ctr: Driver) -> tuple[str, ...]:
    return (
        "--runc-binary", str(RUNTIME), "--runc-root", f"{ctr.root}/runtime",
        "--fifo-dir", f"{ctr.root}/fifo",
    )  # fmt: skip


def run(ctr: Driver, *words: str, flags: tuple[str, ...] = (), code: int = 0) -> tuple[str, str]:
    name = uuid.uuid4().hex
    done = ctr("run", "--rm", *options(ctr), *flags, IMAGE, name, *words, code=code)
    return done.stdout, done.stderr


@pytest.fixture
def box(ctr: Driver) -> Iterator[str]:
    flags = ("-d", "--memory-limit", str(64 << 20))
    ctr("run", *flags, *options(ctr), IMAGE, "box", "sh", "-c", UNTIL_USR1)
    yield "box"
    ctr.attempt("task", "delete", "--force", "box")
    ctr("container", "delete", "box")


def test_output_exit_code_and_confinement(ctr: Driver) -> None:
    script = "echo out; echo err >&2; grep -E 'CapEff|Seccomp:' /proc/self/status; pwd; exit 3"
    flags = ("--seccomp", "--cwd", "/etc", "--cap-drop", "CAP_CHOWN", "--env", "A=b")
    out, err = run(ctr, "sh", "-c", script, flags=flags, code=3)
    assert out.split() == ["out", "CapEff:", "00000000a80425fa", "Seccomp:", "2", "/etc"]
    assert "err\n" in err
    said = run(ctr, "nosuch", code=1)[1]
    assert 'exec: "nosuch": executable file not found in $PATH' in said


def test_a_terminal(ctr: Driver) -> None:
    words = ("run", "--rm", "-t", *options(ctr), IMAGE, "term", "sh", "-c")
    with ctr.at_terminal(
        *words, "tty; read line; until stty size | grep 3; do :; done; exit 4"
    ) as terminal:
        terminal.expect("/dev/pts/0")
        terminal.type("\n")
        terminal.expect("33 101")
        assert terminal.wait() == 4


def test_a_container_over_its_life(ctr: Driver, box: str) -> None:
    task = ("task", "exec", "--fifo-dir", f"{ctr.root}/fifo", "--exec-id", "one")
    assert ctr(*task, box, "sh", "-c", "echo in; exit 5", code=5).stdout == "in\n"
    assert ctr(*task, box, "cat", text="through").stdout == "through"
    with ctr.at_terminal(*task, "-t", box, "sh", "-c", "tty; read line") as terminal:
        terminal.expect("/dev/pts/0")
        terminal.type("\n")
        assert terminal.wait() == 0
    refused = ctr("task", "exec", "--exec-id", "two", box, "nosuch", code=1)
    assert "executable file not found in $PATH" in refused.stderr
    metrics = json.loads(ctr.says("task", "metrics", "--format", "json", box))
    assert metrics["memory"]["usage"]["limit"] == 64 << 20
    pid = ctr.says("task", "ls").split()[-2]
    assert pid in ctr.says("task", "ps", box).split()
    ctr("task", "pause", box)
    assert ctr.says("task", "ls").split()[-1] == "PAUSED"
    ctr("task", "resume", box)
    assert ctr.says("task", "ls").split()[-1] == "RUNNING"
    ctr("task", "kill", "-s", "SIGUSR1", box)
    until(lambda: ctr.says("task", "ls").split()[-1] == "STOPPED", "it has ended")
    assert "non-zero exit code 7" in ctr("task", "delete", box).stderr
    assert not (ctr.root / "runtime/default/box").exists()
