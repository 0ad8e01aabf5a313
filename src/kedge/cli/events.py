"""``kedge events``: what happens in the engine, as it happens."""

from __future__ import annotations

import sys
import time

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, value
from kedge.cli.listing import check_filter, parse_filters, to_json
from kedge.cli.moments import engine_moment
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.fields import mapping, number, text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import JsonObject


def _run(options: Options, client: EngineClient) -> int:
    now = SYSTEM_CLOCK.time_ns() / 10**9
    query = {
        "since": engine_moment(options.text("since"), now),
        "until": engine_moment(options.text("until"), now),
        "filters": parse_filters(options.texts("filter")),
    }
    template = options.text("format")
    show: Callable[[JsonObject], str] = to_json if template else event_line
    if template and template != "json":
        from kedge.cli.template import Template  # noqa: PLC0415 - rarely needed

        show = Template(template).render
    for event in client.get("/events", query).messages():
        sys.stdout.write(f"{show(event)}\n")
        sys.stdout.flush()
    return OK


def event_line(event: JsonObject) -> str:
    """Return an event as Docker's client prints it: time, type, action, id, attributes."""
    attributes = mapping(event, "Actor", "Attributes")
    shown = ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes))
    words = [
        moment_of(event),
        text(event, "Type"),
        text(event, "Action"),
        text(event, "Actor", "ID"),
        *([f"({shown})"] if shown else []),
    ]
    return " ".join(words)


def moment_of(event: JsonObject) -> str:
    """Return when an event happened, in local time with nanoseconds (RFC 3339)."""
    nanoseconds = number(event, "timeNano") or number(event, "time") * 10**9
    seconds, fraction = divmod(nanoseconds, 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown_zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09d}{shown_zone}"


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Show what happens in the engine, until ctrl-c or --until",
    flags=(
        many(
            "filter",
            "NAME=VALUE",
            "Show only what fits: type, event, container, image, network, volume, label, daemon",
            short="f",
            check=check_filter,
            complete="type=container|type=image|type=network|type=volume|event=|container=|label=",
        ),
        value("format", "TEMPLATE", "Print with a Go template, or 'json'"),
        value("since", "TIME", "Show events after a moment (2026-01-31T12:00:00) or since (10m)"),
        value("until", "TIME", "Show events up to a moment, then end"),
    ),
    run=_run,
    examples=(
        ("kedge events", "Everything from now on"),
        ("kedge events --since 1h --until 0s -f event=die", "Containers that ended lately"),
    ),
    at_most=0,
)
