"""``kedge compose events``: what happens to a project's containers, as it happens."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import check_services
from kedge.cli.events import moment_of
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import to_json
from kedge.cli.moments import engine_moment
from kedge.client.http import EngineClient
from kedge.compose import labels
from kedge.compose.observed import list_containers
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.durations import SECOND
from kedge.lib.fields import mapping, number, text
from kedge.lib.jsontypes import JsonObject

_OWN: Final = ("com.docker.compose.", "org.kedge.compose.")


def _run(options: Options, client: EngineClient) -> int:
    app = find_application(options, client, options.words)
    if options.words:
        check_services(app, list_containers(client, app.name), options.words)
    now = SYSTEM_CLOCK.time_ns() / SECOND
    filters = {
        "type": ["container"],
        "label": [*labels.project_filter(app.name), f"{labels.ONEOFF}=False"],
    }
    query = {
        "since": engine_moment(options.text("since"), now),
        "until": engine_moment(options.text("until"), now),
        "filters": json.dumps(filters),
    }
    for event in client.get("/events", query).messages():
        if wants(event, options.words):
            line = to_json(event_object(event)) if options.on("json") else event_line(event)
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    return OK


def wants(event: JsonObject, services: Sequence[str]) -> bool:
    """Whether an event is one of a container of the services, or of any."""
    service = text(event, "Actor", "Attributes", labels.SERVICE)
    return bool(service) and (not services or service in services)


def event_line(event: JsonObject) -> str:
    """Return an event as Docker Compose prints it: time, type, action, id, attributes."""
    shown = ", ".join(f"{name}={content}" for name, content in _attributes(event).items())
    moment, fraction = divmod(_nanoseconds(event), SECOND)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    action, container = text(event, "Action"), text(event, "Actor", "ID")
    return f"{clock}.{fraction // 1000:06d} container {action} {container} ({shown})"


def event_object(event: JsonObject) -> JsonObject:
    """Return an event as ``--json`` prints it."""
    return {
        "time": moment_of(event),
        "type": "container",
        "service": text(event, "Actor", "Attributes", labels.SERVICE),
        "id": text(event, "Actor", "ID"),
        "action": text(event, "Action"),
        "attributes": {**_attributes(event)},
    }


def _nanoseconds(event: JsonObject) -> int:
    return number(event, "timeNano") or number(event, "time") * SECOND


def _attributes(event: JsonObject) -> dict[str, str]:
    known = mapping(event, "Actor", "Attributes")
    return {name: str(known[name]) for name in sorted(known) if not name.startswith(_OWN)}


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Show what happens to the project's containers, until ctrl-c or --until",
    flags=(
        switch("json", "Print one JSON object a line"),
        value("since", "TIME", "Show events after a moment (2026-01-31T12:00:00) or since (10m)"),
        value("until", "TIME", "Show events up to a moment, then end"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose events", "Everything from now on"),
        ("kedge compose events --json --since 10m --until 0s web", "The last ten minutes of one"),
    ),
    complete="service",
)
