"""``kedge ps``: list containers."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.config import configured_format
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, integer, many, switch, value
from kedge.cli.listing import check_filter, parse_filters, print_listing
from kedge.cli.output import ago, local_time, shorten, show_id
from kedge.cli.portlist import show_ports
from kedge.lib import quickjson
from kedge.lib.fields import mapping, number, objects, text, texts
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_size

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient, Query
    from kedge.lib.jsontypes import JsonObject


HEADERS: Final = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}
_COLUMNS: Final = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COMMAND_WIDTH: Final = 20
_LIST_WIDTH: Final = 15


def _run(options: Options, client: EngineClient) -> int:
    last = options.integer("last")
    if options.on("latest") and not options.given("last"):
        last = 1
    template = options.text("format")
    if not options.on("quiet"):
        template = configured_format("psFormat", template)
    size = options.on("size") or ".Size" in template
    query: Query = {
        "all": options.on("all"),
        "limit": str(last) if last > 0 else "",
        "size": size,
        "filters": parse_filters(options.texts("filter")),
    }
    containers = client.get("/containers/json", query).objects()
    rows = [
        container_row(container, truncate=not options.on("no-trunc")) for container in containers
    ]
    print_listing(
        rows,
        headers=HEADERS,
        columns=(*_COLUMNS, "Size") if options.on("size") else _COLUMNS,
        template=template,
        quiet="ID" if options.on("quiet") else "",
    )
    return OK


def container_row(container: JsonObject, *, truncate: bool) -> JsonObject:
    """Return the fields ``--format`` knows for a container of the list."""
    labels = mapping(container, "Labels")
    command = text(container, "Command")
    created = number(container, "Created")
    mounts = [
        text(mount, "Name") or text(mount, "Source") for mount in objects(container, "Mounts")
    ]
    size = format_size(number(container, "SizeRw"), digits=3)
    if number(container, "SizeRootFs") > 0:
        size += f" (virtual {format_size(number(container, 'SizeRootFs'), digits=3)})"
    names = [name.removeprefix("/") for name in texts(container, "Names")]
    return {
        "ID": show_id(text(container, "Id"), truncate=truncate),
        "Image": text(container, "Image") or "<no image>",
        "Command": quickjson.quote(shorten(command, _COMMAND_WIDTH) if truncate else command),
        "CreatedAt": local_time(created),
        "RunningFor": ago(created),
        "Status": text(container, "Status"),
        "State": text(container, "State"),
        # The engine does not tell which of an image's platforms a container has.
        "Platform": None,
        "Ports": show_ports(objects(container, "Ports")),
        # A name with another slash is a link's.
        "Names": ",".join([name for name in names if "/" not in name] if truncate else names),
        "Size": size,
        "Labels": ",".join(f"{key}={content}" for key, content in sorted(labels.items())),
        "Label": labels,
        "Mounts": ",".join(shorten(mount, _LIST_WIDTH) if truncate else mount for mount in mounts),
        "LocalVolumes": str(
            sum(text(m, "Driver") == "local" for m in objects(container, "Mounts"))
        ),
        "Networks": ",".join(sorted(mapping(container, "NetworkSettings", "Networks"))),
    }


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="List containers, the running ones unless told otherwise",
    flags=(
        switch("all", "Show stopped containers, too", short="a"),
        many(
            "filter",
            "NAME=VALUE",
            "Show only what fits: name, id, status, label, ancestor, exited, network, publish, "
            "volume, before, since",
            short="f",
            check=check_filter,
            complete="name=|id=|status=|label=|ancestor=|exited=|network=|publish=|volume=|before=|since=",
        ),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        value(
            "last",
            "N",
            "Show the last N containers, whatever their state",
            short="n",
            check=integer,
        ),
        switch("latest", "Show the last container, whatever its state", short="l"),
        switch("no-trunc", "Do not cut anything short"),
        switch("quiet", "Print ids only", short="q"),
        switch("size", "Show how much disk space they use", short="s"),
    ),
    run=_run,
    examples=(
        ("kedge ps -a", "All containers"),
        ("kedge ps -f status=exited -q", "Ids of those that have ended"),
        ("kedge ps --format 'table {{.Names}}\\t{{.Status}}'", "Two columns"),
    ),
    at_most=0,
)
