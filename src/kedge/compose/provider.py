"""Services that a program outside brings up: ``docker-TYPE`` or ``TYPE``, which speaks JSON lines.

What it sets (``setenv``) reaches the services that depend on it as ``SERVICE_NAME``; ``rawsetenv``
reaches them as it is.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import cast

from kedge.compose import events
from kedge.compose.events import Kind
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import RunProvider
from kedge.lib.fields import mapping, text
from kedge.lib.jsontypes import Json, JsonObject


def run_provider(stage: Stage, step: RunProvider) -> None:
    """Run the program of a service.

    Raises:
        ServiceError: It is not installed, says so, or ends with another code than 0.
    """
    kind = text(step.provider, "type")
    program = shutil.which(f"docker-{kind}") or shutil.which(kind)
    if program is None:
        raise ServiceError(
            f"service {step.service}: provider {kind}: neither docker-{kind} nor {kind} is on the "
            "path: install it",
            service=step.service,
        )
    command = [program, "compose", f"--project-name={stage.app.name}", step.verb]
    command += [f"--{name}={one}" for name, one in _options(step.provider)]
    up = step.verb == "up"
    stage.report(events.working(Kind.SERVICE, step.service, "Creating" if up else "Removing"))
    environment: dict[str, str] = {}
    # Its errors are the user's to read.
    with subprocess.Popen(
        [*command, step.service], stdout=subprocess.PIPE, env={**stage.app.env}, text=True
    ) as process:
        for line in process.stdout or ():
            _take(stage, step, line, environment)
    if process.returncode:
        raise ServiceError(
            f"service {step.service}: provider {kind} ended with code {process.returncode}",
            service=step.service,
        )
    stage.set_environment(step.service, environment)
    stage.report(events.done(Kind.SERVICE, step.service, "Created" if up else "Removed"))


def _options(provider: JsonObject) -> Iterator[tuple[str, str]]:
    for name, value in mapping(provider, "options").items():
        for one in value if isinstance(value, list) else [value]:
            yield name, str(one).lower() if isinstance(one, bool) else str(one)


def _take(stage: Stage, step: RunProvider, line: str, environment: dict[str, str]) -> None:
    try:
        message = cast("Json", json.loads(line))
    except ValueError:
        return
    said = text(message, "message")
    match text(message, "type"):
        case "info":
            stage.report(events.working(Kind.SERVICE, step.service, said))
        case "error":
            raise ServiceError(f"service {step.service}: {said}", service=step.service)
        case "setenv":
            name, _, value = said.partition("=")
            prefix = step.service.upper().replace("-", "_")
            environment[f"{prefix}_{name}"] = value
        case "rawsetenv":
            name, _, value = said.partition("=")
            environment[name] = value
        case _:
            return
