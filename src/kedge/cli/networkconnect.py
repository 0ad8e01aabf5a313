"""``kedge network connect``: put a container on another network."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, integer, many, value
from kedge.cli.options.environment import to_map
from kedge.cli.options.values import parse_ip, parse_link
from kedge.cli.volumecreate import check_option
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


def _run(options: Options, client: EngineClient) -> int:
    network, container = options.words
    client.post(
        f"/networks/{percent_encode(network)}/connect",
        None,
        {"Container": container, "EndpointConfig": _endpoint(options)},
    ).read()
    return OK


def _endpoint(options: Options) -> JsonObject:
    endpoint: JsonObject = {}
    addresses: JsonObject = {
        field: options.text(name)
        for name, field in (("ip", "IPv4Address"), ("ip6", "IPv6Address"))
        if options.given(name)
    }
    if options.given("link-local-ip"):
        addresses["LinkLocalIPs"] = [*options.texts("link-local-ip")]
    if addresses:
        endpoint["IPAMConfig"] = addresses
    if options.given("link"):
        endpoint["Links"] = [":".join(parse_link(link)) for link in options.texts("link")]
    if options.given("alias"):
        endpoint["Aliases"] = [*options.texts("alias")]
    if options.given("driver-opt"):
        endpoint["DriverOpts"] = {**to_map(options.texts("driver-opt"))}
    if options.given("gw-priority"):
        endpoint["GwPriority"] = options.integer("gw-priority")
    return endpoint


COMMAND: Final = Command(
    usage="[OPTIONS] NETWORK CONTAINER",
    summary="Put a container on another network, running or not",
    flags=(
        many("alias", "NAME", "Another name on this network"),
        value("ip", "ADDRESS", "IPv4 address of the container", check=parse_ip),
        value("ip6", "ADDRESS", "IPv6 address of the container", check=parse_ip),
        many("link", "CONTAINER[:ALIAS]", "Another name for a container", check=parse_link,
             complete="container"),
        many("link-local-ip", "ADDRESS", "Link-local address", check=parse_ip),
        many("driver-opt", "NAME=VALUE", "Option of the driver", check=check_option),
        value("gw-priority", "N", "The highest one gives the default gateway", check=integer),
    ),
    run=_run,
    examples=(("kedge network connect --alias cache app redis", "Known as redis and as cache"),),
    at_least=2,
    at_most=2,
    complete="network",
)  # fmt: skip
