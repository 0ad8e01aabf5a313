"""A project that runs, on one engine for the module."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine, shared_engine

__all__ = ["shared_engine"]

COMMAND = (sys.executable, "-c", "from kedge.cli.main import main; main()")
PROJECT = """
name: shop
services:
  web:
    image: busybox
    command: sh -c 'echo hello; echo oops >&2; exec httpd -f -p 80 -h /etc'
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
    volumes: [data:/data]
  job:
    image: busybox
    command: sh -c 'echo done; exit 3'
  worker:
    image: busybox
    command: sh -c 'trap "exit 5" TERM; echo up; sleep 1000 & wait'
    deploy: {replicas: 2}
volumes: {data: {}}
"""


class Project:
    """A folder with a Compose file, and ``kedge compose`` in it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.environment = {
            **os.environ, "KEDGE_HOST": engine.host, "DOCKER_CONFIG": str(folder / "docker"),
            "COLUMNS": "200",
        }  # fmt: skip

    def write(self, text: str) -> None:
        (self.folder / "compose.yaml").write_text(text)

    def run(self, *words: str, code: int = 0, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run ``kedge compose``; it has to end with ``code``."""
        done = subprocess.run(
            [*COMMAND, "compose", *words], cwd=self.folder, env=self.environment, input=text,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
        return done

    def spawn(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, "compose", *words], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def standing(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project ``shop``, up for a whole module; tests leave its containers as they are."""
    yield from _running(Project(shared_engine, tmp_path_factory.mktemp("shop")), PROJECT)


@pytest.fixture
def project(shared_engine: Engine, tmp_path: Path) -> Iterator[Project]:
    """The same as ``mine``, for one test alone."""
    text = PROJECT.replace("name: shop", "name: mine")
    yield from _running(Project(shared_engine, tmp_path), text)


def _running(made: Project, text: str) -> Iterator[Project]:
    made.write(text)
    made.run("up", "-d")
    while made.run("logs", "worker").stdout.count("up") < 2:
        pass  # their handlers are not set yet
    yield made
    made.run("down", "-v", "--remove-orphans", "-t", "0")
