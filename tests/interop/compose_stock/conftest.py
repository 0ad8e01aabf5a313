"""Unmodified Docker Compose, the current one and Debian's 1.29, on one engine for the module."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine, shared_engine

__all__ = ["shared_engine"]

TOOLS = Path(os.environ.get("KEDGE_TEST_TOOLS") or Path.home() / ".cache/kedge-test-tools")
CURRENT = TOOLS / "cli-plugins" / "docker-compose"
DEBIAN = shutil.which("docker-compose", path="/usr/bin")

DOCKERFILE = """
FROM busybox
ARG GREETING=none
COPY site /site
RUN echo $GREETING > /site/greeting
CMD ["httpd", "-f", "-p", "80", "-h", "/site"]
"""
PROJECT = """
version: "2.4"
services:
  web:
    build: {context: ., args: {GREETING: hello}}
    init: true
    ports: ["127.0.0.1::80"]
    networks: {front: {aliases: [site]}, back: {}}
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    init: true
    command: sh -c 'echo started; exec sleep 1000'
    healthcheck: {test: ["CMD", "test", "-d", "/data"], interval: 1s, retries: 5}
    volumes: ["data:/data"]
    networks: [back]
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
"""


class Compose:
    """One Compose program in a project's folder."""

    def __init__(self, program: str, engine: Engine, folder: Path) -> None:
        self.program = program
        self.engine = engine
        self.folder = folder
        self.environment = {
            **os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(folder / "docker"),
            "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0", "COLUMNS": "200",
            "COMPOSE_PROJECT_NAME": "stock", "KEDGE_HOST": engine.host,
        }  # fmt: skip

    def __call__(
        self, *words: str, code: int = 0, text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run it; it has to end with ``code``."""
        done = subprocess.run(
            [self.program, *words], cwd=self.folder, env=self.environment, input=text,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
        return done

    def spawn(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.program, *words], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("hi\n")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "docker-compose.yml").write_text(PROJECT)
    return tmp_path


@pytest.fixture
def current(shared_engine: Engine, folder: Path) -> Iterator[Compose]:
    """The current Docker Compose; its project is down afterwards."""
    if not CURRENT.exists():
        pytest.skip("docker-compose of scripts/test-tools is not built")
    compose = Compose(str(CURRENT), shared_engine, folder)
    yield compose
    compose("down", "-v", "--rmi", "local", "--remove-orphans", "-t", "1")


@pytest.fixture
def debian(shared_engine: Engine, folder: Path) -> Iterator[Compose]:
    """Debian's docker-compose 1.29; its project is down afterwards."""
    # Later releases of Debian have the current program under this name; the old one is Python's.
    if DEBIAN is None or not Path(DEBIAN).read_bytes().startswith(b"#!/usr/bin/python3"):
        pytest.skip("docker-compose 1.29 is not installed")
    compose = Compose(DEBIAN, shared_engine, folder)
    yield compose
    compose("down", "-v", "--rmi", "local", "--remove-orphans", "-t", "1")
