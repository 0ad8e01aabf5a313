"""``kedge images``: list images."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.config import configured_format
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.listing import check_filter, parse_filters, print_listing
from kedge.cli.output import ago, local_time, show_id
from kedge.lib.fields import number, text, texts
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_size

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient, Query
    from kedge.lib.jsontypes import JsonObject


_NONE: Final = "<none>"
_HEADERS: Final = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}


def _run(options: Options, client: EngineClient) -> int:
    filters = options.texts("filter")
    if options.words:
        filters.append(f"reference={options.words[0]}")
    query: Query = {
        "all": options.on("all"),
        "digests": options.on("digests"),
        "filters": parse_filters(filters),
    }
    images = client.get("/images/json", query).objects()
    digests = options.on("digests")
    rows = [
        row
        for image in images
        for row in image_rows(image, truncate=not options.on("no-trunc"), digests=digests)
    ]
    columns = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    print_listing(
        rows,
        headers=_HEADERS,
        columns=columns,
        template=configured_format("imagesFormat", options.text("format")),
        quiet="ID" if options.on("quiet") else "",
    )
    return OK


def image_rows(image: JsonObject, *, truncate: bool, digests: bool) -> list[JsonObject]:
    """Return one row for each name of an image."""
    created = number(image, "Created")
    fields: JsonObject = {
        "Repository": _NONE,
        "Tag": _NONE,
        "Digest": _NONE,
        "ID": show_id(text(image, "Id"), truncate=truncate),
        "CreatedSince": ago(created),
        "CreatedAt": local_time(created),
        "Size": format_size(number(image, "Size"), digits=3),
        "Containers": "N/A"
        if number(image, "Containers") < 0
        else str(number(image, "Containers")),
        # Shared sizes are counted by `system df` only.
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "VirtualSize": format_size(number(image, "Size")),
    }
    by_repository = {
        name: digest for name, _, digest in (d.partition("@") for d in texts(image, "RepoDigests"))
    }
    rows: list[JsonObject] = []
    for name in texts(image, "RepoTags"):
        repository, _, tag = name.rpartition(":")
        digest = by_repository.pop(repository, _NONE) if digests else _NONE
        rows.append(fields | {"Repository": repository, "Tag": tag, "Digest": digest})
    if not rows or digests:
        rows += [
            fields | {"Repository": r, "Digest": d} for r, d in by_repository.items() if r != _NONE
        ]
    return rows or [fields]


COMMAND: Final = Command(
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    summary="List images",
    flags=(
        switch("all", "Show intermediate images, too", short="a"),
        switch("digests", "Show digests"),
        many(
            "filter",
            "NAME=VALUE",
            "Show only what fits: reference, dangling, label, before, since",
            short="f",
            check=check_filter,
            complete="reference=|dangling=|label=|before=|since=",
        ),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("no-trunc", "Do not cut anything short"),
        switch("quiet", "Print ids only", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge images", "All images"),
        ("kedge images python", "All tags of one repository"),
        ("kedge images -f dangling=true -q", "Ids of images without a name"),
    ),
    at_most=1,
    complete="image",
)
