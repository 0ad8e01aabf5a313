"""Ctrl-C at a build without buildx: the step is dead, what came before it stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine import DOCKER, Engine
from tests.integration.engine_crash.truth import until
from tests.processes import is_running

pytestmark = pytest.mark.integration

_SLOW = "FROM busybox\nRUN echo {0} > /kept\nRUN sleep 87654{0}\nRUN echo never > /never\n"


def docker_build(engine: Engine, folder: Path) -> list[str]:
    assert DOCKER is not None
    return [DOCKER, "-H", engine.host, "build", "-t", "cancelled", str(folder)]


def kedge_build(engine: Engine, folder: Path) -> list[str]:
    kedge = [sys.executable, "-c", "from kedge.cli.main import main; main()"]
    return [*kedge, "-H", engine.host, "build", "-t", "cancelled", str(folder)]


@pytest.mark.parametrize(("command", "number"), [(docker_build, 1), (kedge_build, 2)])
def test_control_c_ends_the_step(
    shared_engine: Engine,
    tmp_path: Path,
    command: Callable[[Engine, Path], list[str]],
    number: int,
) -> None:
    (tmp_path / "Dockerfile").write_text(_SLOW.format(number))
    environment = {
        **os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(tmp_path / "config"),
    }  # fmt: skip
    step = ("sleep", f"87654{number}")
    with subprocess.Popen(
        command(shared_engine, tmp_path), env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        until(lambda: is_running(*step), "the step runs")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
    assert process.returncode != 0
    until(lambda: not is_running(*step), "the step is dead")
    assert shared_engine.docker("images", "-q", "cancelled").stdout == ""
    # What was finished is known, what was cut off is not.
    (tmp_path / "Dockerfile").write_text(_SLOW.format(number).replace("sleep", "echo"))
    done = shared_engine.kedge("build", str(tmp_path))
    assert done.stdout.count("Using cache") == 1
