"""What an engine that dies means to those who talk to it: an end at once, and nothing is undone."""

import contextlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine import DOCKER, Engine
from tests.integration.engine_crash.truth import assert_true, state, until

pytestmark = pytest.mark.integration

_TALKS = "i=0; while [ ! -e /end ]; do i=$((i+1)); echo line $i; sleep 0.05; done; exit 7"
_NUMBERS = itertools.count()


class Client:
    """A command that runs beside the test; its output goes to a file."""

    def __init__(self, engine: Engine, stack: contextlib.ExitStack, *words: str) -> None:
        self._path = Path(engine.root, f"client{next(_NUMBERS)}")
        with self._path.open("wb") as file:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env={
                    **os.environ, "DOCKER_HOST": engine.host, "KEDGE_HOST": engine.host,
                    "DOCKER_CONFIG": str(engine.root / "docker"), "DOCKER_BUILDKIT": "0",
                },
            )  # fmt: skip
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)

    @property
    def said(self) -> str:
        return self._path.read_text()


def kedge(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "from kedge.cli.main import main; main()", *words)


def test_everybody_is_told_and_nothing_is_undone(engine: Engine, tmp_path: Path) -> None:
    assert DOCKER is not None
    engine.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", _TALKS)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 600\n")
    pid = state(engine, "box")["Pid"]
    with contextlib.ExitStack() as stack:
        clients = {
            words[1]: Client(engine, stack, *words)
            for words in (
                (DOCKER, "exec", "box", "sh", "-c", "echo begun; sleep 601"),
                (DOCKER, "attach", "box"),
                (DOCKER, "wait", "box"),
                (DOCKER, "build", str(tmp_path)),
            )
        }
        ours = Client(engine, stack, *kedge("attach", "box"))
        until(lambda: "line" in ours.said and "line" in clients["attach"].said, "both listen")
        until(lambda: "begun" in clients["exec"].said and "begun" in clients["build"].said, "begun")
        engine.kill()
        codes = {name: client.process.wait(timeout=60) for name, client in clients.items()}
        assert ours.process.wait(timeout=60) != 0
    assert "Traceback" not in ours.said
    assert codes["wait"] != 0
    assert codes["build"] != 0
    engine.start()
    # The container and what was started in it go on; a step of a build, which nobody can go on
    # with, is taken away.
    assert state(engine, "box")["Pid"] == pid
    assert "sleep 601" in engine.docker("top", "box").stdout
    assert_true(engine)
    with contextlib.ExitStack() as stack:
        waiting = Client(engine, stack, *kedge("wait", "box"))
        again = Client(engine, stack, DOCKER, "attach", "box")
        until(lambda: "line" in again.said, "it can be listened to again")
        engine.docker("exec", "box", "touch", "/end")
        assert waiting.process.wait(timeout=60) == 0
        assert again.process.wait(timeout=60) == 7
        assert waiting.said == "7\n"
    lines = engine.docker("logs", "box").stdout.splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo begun\n")
    engine.docker("build", "-t", "app", str(tmp_path))
    assert_true(engine)
