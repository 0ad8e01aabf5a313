"""``kedge history``: how an image was made, newest step first."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import print_listing
from kedge.cli.output import ago, rfc3339, shorten, show_id
from kedge.cli.platforms import check_platform, platform_parameter
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.fields import number, text
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_size

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


_MISSING: Final = "<missing>"
_CREATED_BY_WIDTH: Final = 45
_HEADERS: Final = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def _run(options: Options, client: EngineClient) -> int:
    name = percent_encode(options.words[0], keep="/:@")
    query = {"platform": platform_parameter(options.text("platform"))}
    steps = client.get(f"/images/{name}/history", query).objects()
    truncate, human = not options.on("no-trunc"), options.on("human")
    columns = ("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment")
    print_listing(
        [_row(step, truncate=truncate, human=human) for step in steps],
        headers=_HEADERS,
        columns=columns,
        template=options.text("format"),
        quiet="ID" if options.on("quiet") else "",
    )
    return OK


def _row(step: JsonObject, *, truncate: bool, human: bool) -> JsonObject:
    step_id, created = text(step, "Id"), number(step, "Created")
    created_by = text(step, "CreatedBy").replace("\t", " ")
    size = number(step, "Size")
    return {
        "ID": step_id if step_id == _MISSING else show_id(step_id, truncate=truncate),
        "CreatedSince": ago(created),
        "CreatedAt": rfc3339(created),
        "CreatedBy": shorten(created_by, _CREATED_BY_WIDTH) if truncate else created_by,
        "Size": format_size(size, digits=3) if human else str(size),
        "Comment": text(step, "Comment"),
    }


COMMAND: Final = Command(
    usage="[OPTIONS] IMAGE",
    summary="Show the steps an image was made with, newest first",
    flags=(
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("human", "Print sizes and times in words", short="H", default=True),
        switch("no-trunc", "Do not cut anything short"),
        value("platform", "OS/ARCH", "Platform of the image", check=check_platform),
        switch("quiet", "Print ids only", short="q"),
    ),
    run=_run,
    examples=(("kedge history --no-trunc my-app", "All steps in full"),),
    at_least=1,
    at_most=1,
    complete="image",
)
