"""A folder with a Compose file and the engine it runs on; its project is gone afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.compose.observed import Observed, observe
from tests.engine import Engine


class Project:
    """One project: its files, the command on it, and what the engine has of it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.name = folder.name
        self._started: list[subprocess.Popen[str]] = []

    def write(self, text: str, name: str = "compose.yaml") -> None:
        (self.folder / name).write_text(text)

    def compose(
        self, *words: str, check: bool = True, text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``kedge compose`` in the folder."""
        return self.engine.kedge(
            "compose", "--project-directory", str(self.folder), *words, check=check, text=text
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Run ``kedge compose`` in the background, in a process group of its own."""
        process = subprocess.Popen(
            [
                sys.executable, "-c", "from kedge.cli.main import main; main()", "compose",
                "--project-directory", str(self.folder), *words,
            ],
            env={**os.environ, "KEDGE_HOST": self.engine.host},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            process_group=0,
        )  # fmt: skip
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what still runs, and remove everything of the project."""
        for process in self._started:
            process.kill()
            process.communicate()
        self.engine.kedge("compose", "-p", self.name, "down", "-v", "-t", "0", "--remove-orphans")

    def observed(self) -> Observed:
        client = self.engine.client()
        try:
            return observe(client, self.name)
        finally:
            client.close()

    def states(self) -> dict[str, str]:
        """State by container, names without the project's."""
        return {
            one.name.removeprefix(f"{self.name}-"): one.state for one in self.observed().containers
        }


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """Return what a process printed up to the line with these words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came: {seen}")


def interrupt(process: "subprocess.Popen[str]", number: int = signal.SIGINT) -> None:
    """Send what Ctrl-C sends."""
    os.kill(process.pid, number)


@pytest.fixture
def project(
    shared_engine: Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """A folder for a project, named after the test."""
    name = str(request.node.name).removeprefix("test_").partition("[")[0].replace("_", "")[:30]
    folder = tmp_path / name
    folder.mkdir()
    one = Project(shared_engine, folder)
    yield one
    one.end()
