"""``kedge network ls``: list networks."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.config import configured_format
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.listing import check_filter, parse_filters, print_listing
from kedge.cli.moments import go_time
from kedge.cli.output import show_id
from kedge.lib.fields import flag, mapping, text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import JsonObject


_HEADERS: Final = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def _run(options: Options, client: EngineClient) -> int:
    query = {"filters": parse_filters(options.texts("filter"))}
    networks = client.get("/networks", query).objects()
    quiet = options.on("quiet")
    template = options.text("format")
    truncate = not options.on("no-trunc")
    print_listing(
        [_row(n, truncate=truncate) for n in sorted(networks, key=lambda n: text(n, "Name"))],
        headers=_HEADERS,
        columns=("ID", "Name", "Driver", "Scope"),
        template=template if quiet else configured_format("networksFormat", template),
        quiet="ID" if quiet else "",
    )
    return OK


def _row(network: JsonObject, *, truncate: bool) -> JsonObject:
    labels = mapping(network, "Labels")
    return {
        "ID": show_id(text(network, "Id"), truncate=truncate),
        "Name": text(network, "Name"),
        "Driver": text(network, "Driver"),
        "Scope": text(network, "Scope"),
        "IPv4": "true" if flag(network, "EnableIPv4") else "false",
        "IPv6": "true" if flag(network, "EnableIPv6") else "false",
        "Internal": "true" if flag(network, "Internal") else "false",
        "Labels": ",".join(f"{key}={content}" for key, content in sorted(labels.items())),
        "Label": labels,
        "CreatedAt": go_time(text(network, "Created")),
    }


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="List networks",
    flags=(
        many(
            "filter",
            "NAME=VALUE",
            "Show only what fits: name, id, driver, scope, type, label, dangling",
            short="f",
            check=check_filter,
            complete="name=|id=|driver=|scope=|type=custom|type=builtin|label=|dangling=true",
        ),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("no-trunc", "Do not cut anything short"),
        switch("quiet", "Print ids only", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge network ls", "All networks"),
        ("kedge network ls -f type=custom -q", "Ids of your own"),
    ),
    at_most=0,
)
