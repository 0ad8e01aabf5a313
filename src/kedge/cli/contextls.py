"""``kedge context ls``: list the engines that are known by name."""

import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.contextendpoint import describe
from kedge.cli.contexts import DEFAULT, list_contexts
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import print_listing
from kedge.cli.output import print_lines
from kedge.cli.target import current_context, environment_host, overriding_variable
from kedge.client.http import EngineClient
from kedge.lib.jsontypes import JsonObject

_HEADERS: Final = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
}


def _run(options: Options, _client: EngineClient) -> int:
    current = current_context(os.environ)
    rows = [_row(DEFAULT, describe(DEFAULT), str(environment_host(os.environ)), current)]
    rows += [_row(c.name, c.description, c.host, current) for c in list_contexts()]
    if all(row["Name"] != current for row in rows):
        rows.append(_row(current, "", "", current) | {"Error": "context not found"})
    rows.sort(key=lambda row: str(row["Name"]))
    if options.on("quiet"):
        print_lines([str(row["Name"]) for row in rows])
        return OK
    template = options.text("format")
    if not template or template == "table":
        rows = [{**row, "Name": _starred(row)} for row in rows]
    print_listing(rows, headers=_HEADERS, columns=tuple(_HEADERS), template=template)
    variable = overriding_variable(os.environ)
    if variable and not template:
        sys.stdout.flush()
        sys.stderr.write(
            f"Warning: {variable} environment variable overrides the active context. To use a "
            "context, either set the global --context flag, or unset "
            f"{variable} environment variable.\n"
        )
    return OK


def _row(name: str, description: str, host: str, current: str) -> JsonObject:
    return {
        "Current": name == current,
        "Description": description,
        "DockerEndpoint": host,
        "Error": "",
        "Name": name,
    }


def _starred(row: JsonObject) -> str:
    return f"{row['Name']} *" if row["Current"] is True else str(row["Name"])


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="List contexts; the one in use has a star",
    flags=(
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("quiet", "Print names only", short="q"),
    ),
    run=_run,
    examples=(("kedge context ls", "Engines known by name"),),
    at_most=0,
    needs_engine=False,
    needs_host=False,
)
