"""Stock ``docker`` with stock ``buildx`` against an engine: nothing tells them what it is."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kedge.lib.jsontypes import JsonObject
from tests.engine import DOCKER, Engine
from tests.testtools import docker_config


class Buildx:
    """A user with the docker CLI, its buildx plug-in, and a folder to work in."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.config = docker_config(folder.parent / "config", "docker-buildx", "docker-compose")

    @property
    def environment(self) -> dict[str, str]:
        """What the client runs with: a configuration of its own and no terminal."""
        unwanted = ("DOCKER_BUILDKIT", "BUILDX_BUILDER", "SOURCE_DATE_EPOCH", "DOCKER_CONTEXT")
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        return {
            **kept,
            "DOCKER_HOST": self.engine.host,
            "DOCKER_CONFIG": str(self.config),
            "BUILDX_CONFIG": str(self.config / "buildx"),
            "BUILDX_GIT_INFO": "false",
            "DOCKER_CLI_HINTS": "false",
        }

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Put files into the folder."""
        for name, data in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command whose output is read as it comes."""
        assert DOCKER is not None
        return subprocess.Popen(
            [DOCKER, *words], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(
        self,
        *words: str,
        check: bool = True,
        data: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of the docker CLI in the folder."""
        assert DOCKER is not None
        done = subprocess.run(
            [DOCKER, *words], cwd=self.folder, env={**self.environment, **(environment or {})},
            input=data, capture_output=True, timeout=90, check=False,
        )  # fmt: skip
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert not check or done.returncode == 0, f"{words}: {out}\n{err}"
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def build(self, *words: str, check: bool = True) -> str:
        """Run ``docker build`` with plain progress; return what it printed about it."""
        done = self.run("build", "--progress=plain", *words, ".", check=check)
        return done.stdout + done.stderr

    def output_of(self, image: str, *words: str) -> str:
        """Run a container of an image and return what it printed."""
        return self.run("run", "--rm", image, *words).stdout

    def inspect(self, image: str) -> JsonObject:
        """Return what the engine says of an image."""
        found: list[JsonObject] = json.loads(self.run("image", "inspect", image).stdout)
        return found[0]
