"""``kedge compose ps``: the containers of a project."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import check_services
from kedge.cli.config import configured_format
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.listing import check_filter, print_listing
from kedge.cli.output import print_lines
from kedge.cli.ps import HEADERS, container_row
from kedge.client.http import EngineClient
from kedge.compose.observed import Container, list_containers
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import number, objects, text
from kedge.lib.jsontypes import Json, JsonObject

_HEADERS: Final = {
    **HEADERS,
    "Name": "NAME",
    "Service": "SERVICE",
    "Project": "PROJECT",
    "Health": "HEALTH",
    "ExitCode": "EXIT CODE",
    "Publishers": "PUBLISHERS",
    "Created": "CREATED",
}
_COLUMNS: Final = ("Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports")
_STATES: Final = ("paused", "restarting", "removing", "running", "dead", "created", "exited")


def _run(options: Options, client: EngineClient) -> int:
    states = wanted_states(options)
    app = find_application(options, client, options.words)
    containers = list_containers(client, app.name)
    check_services(app, containers, options.words)
    services = set(options.words)
    if not services and not options.on("orphans"):
        services = set(app.services)
    chosen = [
        one
        for one in sorted(containers, key=lambda one: one.name)
        if (not services or one.service in services)
        and (one.state in states if states else options.on("all") or one.is_running)
    ]
    if options.on("quiet"):
        print_lines([one.id for one in chosen])
    elif options.on("services"):
        print_lines(sorted({one.service for one in chosen}))
    else:
        _print(options, chosen)
    return OK


def _print(options: Options, containers: list[Container]) -> None:
    template = configured_format("psFormat", options.text("format"))
    rows = [
        ps_row(one, as_json=template == "json", truncate=not options.on("no-trunc"))
        for one in containers
    ]
    if template == "pretty":
        template = ""
    print_listing(rows, headers=_HEADERS, columns=_COLUMNS, template=template)
    sys.stdout.flush()


def ps_row(one: Container, *, as_json: bool = False, truncate: bool) -> JsonObject:
    """Return the fields ``--format`` knows for a container of a project."""
    row = container_row(one.record, truncate=truncate)
    row.pop("Platform", None)
    publishers: list[Json] = [
        {
            "URL": text(port, "IP"),
            "TargetPort": number(port, "PrivatePort"),
            "PublishedPort": number(port, "PublicPort"),
            "Protocol": text(port, "Type"),
        }
        for port in objects(one.record, "Ports")
    ]
    more: JsonObject = {
        "Name": one.name,
        "Service": one.service,
        "Project": one.project,
        "Health": one.health,
        "ExitCode": one.exit_code if as_json else str(one.exit_code),
        "Created": one.created_s if as_json else row["RunningFor"],
        "Publishers": publishers,
    }
    return row | more


def wanted_states(options: Options) -> frozenset[str]:
    """Return the states ``--status`` and ``--filter status=`` ask for; none is all.

    Raises:
        InvalidParameterError: Another filter, or no state.
    """
    found = set(options.texts("status"))
    for word in options.texts("filter"):
        name, _, content = word.partition("=")
        if name != "status":
            raise InvalidParameterError(f"unknown filter {name}: only status= is there")
        found.add(content)
    for state in found:
        if state not in _STATES:
            raise InvalidParameterError(
                f"unknown status {state}: want one of {', '.join(sorted(_STATES))}"
            )
    return frozenset(found)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="List the project's containers, the running ones unless told otherwise",
    flags=(
        switch("all", "Show stopped containers and those of 'run', too", short="a"),
        many("filter", "NAME=VALUE", "Show only what fits: status", check=check_filter,
             complete="status=running|status=exited|status=paused"),
        many("status", "STATUS", "Show only containers with this status",
             complete="|".join(_STATES)),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("orphans", "Show containers of services no file has", default=True),
        switch("quiet", "Print ids only", short="q"),
        switch("services", "Print the services' names"),
        switch("no-trunc", "Do not cut anything short"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose ps", "What runs"),
        ("kedge compose ps -a --status exited", "What has ended"),
        ("kedge compose ps --format json", "One JSON object a line"),
        ("kedge compose -p shop ps", "Of a project by name, from any folder"),
    ),
    complete="service",
)  # fmt: skip
