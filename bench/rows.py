"""What is measured, row by row."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Final

from bench.api import ApiClient
from bench.engines import IMAGE, KEDGE_CLI, Daemon
from bench.measure import Contender, Row
from bench.processes import MeasureError, engines_memory_kib, run

KEDGE: Final = "kedge"
DOCKER_TO_KEDGE: Final = "docker CLI on kedged"
DOCKER: Final = "docker CLI on dockerd"
PODMAN: Final = "podman + crun"
_IDLE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Who takes part."""

    kedged: Daemon
    dockerd: Daemon | None
    podman: tuple[str, ...]

    @property
    def absent(self) -> list[str]:
        """Who is not installed."""
        return [DOCKER] * (self.dockerd is None) + [PODMAN] * (not self.podman)

    def command_lines(self) -> Iterator[tuple[str, tuple[str, ...], dict[str, str]]]:
        """Yield name, command and environment of every command-line client."""
        yield KEDGE, KEDGE_CLI, self.kedged.environment
        yield DOCKER_TO_KEDGE, self.kedged.docker_cli, self.kedged.environment
        if self.dockerd is not None:
            yield DOCKER, self.dockerd.docker_cli, self.dockerd.environment
        if self.podman:
            yield PODMAN, self.podman, {}

    def daemons(self) -> Iterator[tuple[str, Daemon]]:
        """Yield the engines that have an API."""
        yield "kedged", self.kedged
        if self.dockerd is not None:
            yield "dockerd", self.dockerd

    def each(self, title: str, *words: str) -> Row:
        """Return a row in which every client runs the same words."""
        return Row(
            title=title,
            contenders=[
                _command(name, [*client, *words], environment)
                for name, client, environment in self.command_lines()
            ],
            absent=self.absent,
        )


def _command(name: str, words: Sequence[str], environment: dict[str, str]) -> Contender:
    return Contender(name=name, run=lambda: _run(words, environment))


def _run(words: Sequence[str], environment: dict[str, str]) -> None:
    run(words, environment=environment)


def row_run(field: Field) -> Row:
    """Return the row of the whole command, on the default bridge."""
    return field.each("`run --rm busybox true`", "run", "--rm", IMAGE, "true")


def row_share(field: Field) -> Row:
    """Return the row of the engine's own share, over one keep-alive connection."""
    return Row(
        title="create, start, wait, remove over the API",
        contenders=[_cycle(name, daemon.client()) for name, daemon in field.daemons()],
        absent=["dockerd"] * (field.dockerd is None),
    )


def _cycle(name: str, client: ApiClient) -> Contender:
    request = {"Image": IMAGE, "Cmd": ["true"]}

    def cycle() -> None:
        made = client.ask("POST", "/containers/create", document=request)
        path = f"/containers/{json.loads(made)['Id']}"
        client.ask("POST", f"{path}/start")
        client.ask("POST", f"{path}/wait")
        client.ask("DELETE", path)

    return Contender(name=name, run=cycle)


@contextlib.contextmanager
def row_exec(field: Field) -> Iterator[Row]:
    """Yield the row of a command in a container that runs."""
    # The first client of each engine starts the container the others of it enter.
    engines = list(field.command_lines())[1:]
    for _, client, environment in engines:
        # Where this fails, the exec will say so.
        with contextlib.suppress(MeasureError):
            _run([*client, "run", "-d", "--name", "idle", IMAGE, "sleep", "3600"], environment)
    yield field.each("`exec idle true`", "exec", "idle", "true")
    for _, client, environment in engines:
        with contextlib.suppress(MeasureError):
            _run([*client, "rm", "-f", "idle"], environment)


def row_rebuild(field: Field, context: Path) -> Row:
    """Return the row of a build in which nothing has changed; the first one does not count."""
    words = ("build", "-q", "-t", "bench-app", "--build-arg", f"BASE={IMAGE}", str(context))
    return field.each("rebuild with nothing changed", *words)


def measure_memory(field: Field) -> list[str]:
    """Return the table of memory per idle container: what engine and monitors grow by."""
    lines = ["| idle container | KiB |", "|---|---:|"]
    for name, client, environment in list(field.command_lines())[1:]:
        shown = KEDGE if name == DOCKER_TO_KEDGE else name.rpartition(" on ")[2]
        before = engines_memory_kib()
        names = [f"idle-{number}" for number in range(_IDLE)]
        try:
            for each in names:
                _run([*client, "run", "-d", "--name", each, IMAGE, "sleep", "3600"], environment)
            sleep(1)
            lines.append(f"| {shown} | {(engines_memory_kib() - before) // _IDLE} |")
            _run([*client, "rm", "-f", *names], environment)
        except MeasureError as failure:
            lines.append(f"| {shown} | failed: {failure} |")
    return lines
