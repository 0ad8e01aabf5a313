"""``kedge volume ls``: list volumes."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.config import configured_format
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.listing import check_filter, parse_filters, print_listing
from kedge.lib.fields import mapping, objects, text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import JsonObject


HEADERS: Final = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Status": "STATUS",
    "Group": "GROUP",
    "Availability": "AVAILABILITY",
}


def _run(options: Options, client: EngineClient) -> int:
    query = {"filters": parse_filters(options.texts("filter"))}
    volumes = objects(client.get("/volumes", query).object(), "Volumes")
    quiet = options.on("quiet")
    template = options.text("format")
    print_listing(
        [volume_row(volume) for volume in sorted(volumes, key=lambda v: text(v, "Name"))],
        headers=HEADERS,
        columns=("Driver", "Name"),
        template=template if quiet else configured_format("volumesFormat", template),
        quiet="Name" if quiet else "",
    )
    return OK


def volume_row(volume: JsonObject) -> JsonObject:
    """Return the fields ``--format`` knows for a volume of the list."""
    labels = mapping(volume, "Labels")
    return {
        "Driver": text(volume, "Driver"),
        "Name": text(volume, "Name"),
        "Scope": text(volume, "Scope"),
        "Mountpoint": text(volume, "Mountpoint"),
        "Labels": ",".join(f"{key}={content}" for key, content in sorted(labels.items())),
        "Label": labels,
        # Sizes and users are counted by `system df` only; the rest belongs to clusters.
        **dict.fromkeys(("Links", "Size", "Status", "Group", "Availability"), "N/A"),
    }


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="List volumes",
    flags=(
        many(
            "filter",
            "NAME=VALUE",
            "Show only what fits: name, label, driver, dangling",
            short="f",
            check=check_filter,
            complete="name=|label=|driver=|dangling=true",
        ),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("quiet", "Print names only", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge volume ls", "All volumes"),
        ("kedge volume ls -qf dangling=true", "Names of those no container uses"),
    ),
    at_most=0,
)
