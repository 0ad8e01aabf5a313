"""Plans shown or carried out, and what the user reads when a service fails."""

import sys
from collections.abc import Collection, Mapping
from typing import Final

from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import parallel_limit
from kedge.cli.compose.progress import Progress, open_progress
from kedge.cli.compose.projectflags import warn
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.client.http import EngineClient
from kedge.client.streams import Demultiplexer
from kedge.compose.application import Application
from kedge.compose.clients import ClientPool
from kedge.compose.dryrun import describe
from kedge.compose.executor import execute
from kedge.compose.observed import Observed, list_containers
from kedge.compose.perform import Performer
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import Plan
from kedge.errdefs import KedgeError
from kedge.lib.fields import flag

_LAST_LINES: Final = 10


def carry_out(
    plan: Plan, stage: Stage, options: Options, env: Mapping[str, str], images: LateImages
) -> None:
    """Do a plan; with ``--dry-run`` only report what would be done.

    Raises:
        KedgeError: The first step that failed; what its container said last has been shown.
    """
    for text in plan.warnings:
        warn(text)
    if options.on("dry-run"):
        for step in plan.steps:
            for event in describe(step):
                stage.report(event)
        return
    execute(plan.steps, Performer(stage, images), parallel=parallel_limit(options, env))


def run_plan(
    plan: Plan,
    app: Application,
    client: EngineClient,
    options: Options,
    operation: str,
    observed: Observed | None = None,
    *,
    images: LateImages | None = None,
    quiet: bool = False,
) -> int:
    """Do a plan, show progress unless ``quiet``, tell a failure; return the exit code."""
    env = {**app.env, "COMPOSE_PROGRESS": "quiet"} if quiet else app.env
    try:
        with open_progress(options, env, operation) as progress:
            stage = open_stage(app, client, progress)
            stage.know(observed.containers if observed else ())
            carry_out(plan, stage, options, app.env, images or LateImages())
    except KedgeError as error:
        return tell_failure(error, client)
    return OK


def open_stage(app: Application, client: EngineClient, progress: Progress) -> Stage:
    """Return what performers share, on the engine of ``client``."""
    return Stage(app, ClientPool(client.host), progress.report)


def tell_failure(error: KedgeError, client: EngineClient) -> int:
    """Say what failed and what its container printed last; return the exit code."""
    sys.stderr.write(f"kedge: {error}\n")
    if isinstance(error, ServiceError):
        if error.health:
            sys.stderr.write(f"its health check said last:\n{_indented(error.health)}")
        if error.container:
            lines = last_lines(client, error.container)
            if lines:
                sys.stderr.write(f"its last lines:\n{_indented(lines)}")
    return 1


def warn_of_crashed(app: Application, client: EngineClient, services: Collection[str]) -> None:
    """Tell of containers that ended badly although they were just started; nobody is waited for."""
    for one in list_containers(client, app.name):
        comes_back = one.state == "restarting"
        if one.oneoff or one.service not in services:
            continue
        if comes_back or (one.state == "exited" and one.exit_code):
            how = "keeps ending" if comes_back else "has ended"
            warn(f"service {one.service}: container {one.name} {how} (exit code {one.exit_code})")
            lines = last_lines(client, one.id)
            if lines:
                sys.stderr.write(f"its last lines:\n{_indented(lines)}")


def _indented(lines: str) -> str:
    return "".join(f"  {line}\n" for line in lines.splitlines())


def last_lines(client: EngineClient, container: str) -> str:
    """Return what a container printed last; empty where it is not known."""
    try:
        record = client.get(f"/containers/{container}/json").object()
        query = {"stdout": True, "stderr": True, "tail": _LAST_LINES}
        data = client.get(f"/containers/{container}/logs", query).read()
        if flag(record, "Config", "Tty"):
            return data.decode("utf-8", "replace")
        pieces: list[bytes] = []
        Demultiplexer(lambda _stream, piece: pieces.append(piece)).feed(data)
    except KedgeError:
        return ""
    return b"".join(pieces).decode("utf-8", "replace")
