"""``kedge search``: images on Docker Hub."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, integer, many, switch, value
from kedge.cli.listing import check_filter, parse_filters, print_listing
from kedge.cli.output import shorten
from kedge.lib.fields import flag, number, text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient, Query
    from kedge.lib.jsontypes import JsonObject


_DESCRIPTION_WIDTH: Final = 45
_HEADERS: Final = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_COLUMNS: Final = ("Name", "Description", "StarCount", "IsOfficial")


def _run(options: Options, client: EngineClient) -> int:
    query: Query = {
        "term": options.words[0],
        "limit": options.text("limit"),
        "filters": parse_filters(options.texts("filter")),
    }
    found = client.get("/images/search", query).objects()
    template = options.text("format")
    truth = "true" if template and not template.startswith("table") else "[OK]"
    rows = [_row(result, truth=truth, truncate=not options.on("no-trunc")) for result in found]
    print_listing(rows, headers=_HEADERS, columns=_COLUMNS, template=template)
    return OK


def _row(result: JsonObject, *, truth: str, truncate: bool) -> JsonObject:
    description = " ".join(text(result, "description").split())
    no = "false" if truth == "true" else ""
    return {
        "Name": text(result, "name"),
        "Description": shorten(description, _DESCRIPTION_WIDTH) if truncate else description,
        "StarCount": str(number(result, "star_count")),
        "IsOfficial": truth if flag(result, "is_official") else no,
        "IsAutomated": truth if flag(result, "is_automated") else no,
    }


COMMAND: Final = Command(
    usage="[OPTIONS] TERM",
    summary="Search Docker Hub for images",
    flags=(
        many(
            "filter",
            "NAME=VALUE",
            "Show only what fits: is-official, stars",
            short="f",
            check=check_filter,
            complete="is-official=true|stars=",
        ),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        value("limit", "N", "Show N results at most", check=integer),
        switch("no-trunc", "Do not cut anything short"),
    ),
    run=_run,
    examples=(("kedge search -f is-official=true python", "Official images only"),),
    at_least=1,
    at_most=1,
)
