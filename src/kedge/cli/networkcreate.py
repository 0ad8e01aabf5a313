"""``kedge network create``: make a network for containers to meet in."""

from __future__ import annotations

import ipaddress
import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, many, switch, value
from kedge.cli.options.environment import check_label, to_map
from kedge.cli.volumecreate import check_option
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import Json, JsonObject


def _run(options: Options, client: EngineClient) -> int:
    if options.on("config-only") and options.text("config-from"):
        raise UsageError("cannot specify --config-from together with --config-only")
    request: JsonObject = {
        "Name": options.words[0],
        "Driver": options.text("driver"),
        "Scope": options.text("scope"),
        "Internal": options.on("internal"),
        "Attachable": options.on("attachable"),
        "Ingress": options.on("ingress"),
        "ConfigOnly": options.on("config-only"),
        "IPAM": {
            "Driver": options.text("ipam-driver"),
            "Options": {**to_map(options.texts("ipam-opt"))},
            "Config": [*address_pools(options)],
        },
        "Options": {**to_map(options.texts("opt"))},
        "Labels": {**to_map(options.texts("label"))},
    }
    for name, field in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        wanted = options.tristate(name)
        if wanted is not None:
            request[field] = wanted
    if options.given("config-from"):
        request["ConfigFrom"] = {"Network": options.text("config-from")}
    answer = client.post("/networks/create", None, request).object()
    warning = text(answer, "Warning")
    if warning:
        sys.stderr.write(f"WARNING: {warning}\n")
    sys.stdout.write(f"{text(answer, 'Id')}\n")
    return OK


def address_pools(options: Options) -> list[JsonObject]:
    """Return the entries of ``IPAM.Config``, one a subnet.

    Raises:
        InvalidParameterError: A part that fits no subnet, or two that fit the same.
    """
    subnets = _split(options.texts("subnet"))
    gateways, ranges = _split(options.texts("gateway")), _split(options.texts("ip-range"))
    if len(subnets) < len(gateways) or len(subnets) < len(ranges):
        raise InvalidParameterError("every ip-range or gateway must have a corresponding subnet")
    pools: dict[str, JsonObject] = {}
    for subnet in subnets:
        network = _network(subnet)
        if any(network.overlaps(_network(other)) for other in pools if _same_family(subnet, other)):
            raise InvalidParameterError(
                "multiple overlapping subnet configuration is not supported"
            )
        pools[subnet] = {"Subnet": subnet}
    for text_, field in (
        *((r, "IPRange") for r in ranges),
        *((g, "Gateway") for g in gateways),
    ):
        pool = _pool_of(text_, pools)
        if pool is None:
            raise InvalidParameterError(f"no matching subnet for {_NAMES[field]} {text_}")
        if field in pool:
            raise InvalidParameterError(
                f"cannot configure multiple {_NAMES[field]}s ({text_}, {pool[field]}) "
                f"on the same subnet ({pool['Subnet']})"
            )
        pool[field] = text_
    for name, address in to_map(options.texts("aux-address")).items():
        pool = _pool_of(address, pools)
        if pool is None:
            raise InvalidParameterError(f"no matching subnet for aux-address {address}")
        addresses = pool.setdefault("AuxiliaryAddresses", {})
        if isinstance(addresses, dict):
            addresses[name] = address
    return list(pools.values())


_NAMES: Final = {"IPRange": "ip-range", "Gateway": "gateway"}


def _split(values: Sequence[str]) -> list[str]:
    return [part.strip() for text_ in values for part in text_.split(",") if part.strip()]


def _network(text_: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text_, strict=False)
    except ValueError:
        raise InvalidParameterError(f"invalid CIDR address: {text_}") from None


def _same_family(left: str, right: str) -> bool:
    return (":" in left) == (":" in right)


def _pool_of(text_: str, pools: dict[str, JsonObject]) -> JsonObject | None:
    address = _network(text_).network_address
    return next((pool for subnet, pool in pools.items() if address in _network(subnet)), None)


def _pair(text_: str) -> Json:
    check_option(text_)
    return None


COMMAND: Final = Command(
    usage="[OPTIONS] NETWORK",
    summary="Create a network; containers on it find one another by name",
    flags=(
        value("driver", "NAME", "Driver of the network", short="d", default="bridge"),
        many("opt", "NAME=VALUE", "Option of the driver", short="o", check=_pair),
        many("label", "NAME=VALUE", "Set a label", check=check_label),
        switch("internal", "No way out of the network"),
        many("subnet", "CIDR", "Addresses of the network, such as 10.9.0.0/24"),
        many("gateway", "ADDRESS", "Address of the host in the subnet"),
        many("ip-range", "CIDR", "Part of the subnet that containers get addresses from"),
        many("aux-address", "NAME=ADDRESS", "Address that is given to nobody", check=_pair),
        switch("ipv4", "Give out IPv4 addresses", default=True),
        switch("ipv6", "Give out IPv6 addresses"),
        value("ipam-driver", "NAME", "Driver that gives out addresses", default="default"),
        many("ipam-opt", "NAME=VALUE", "Option of that driver", check=_pair),
        switch("attachable", "Let containers be connected by hand"),
        switch("ingress", "Make the routing mesh of a swarm"),
        value("scope", "SCOPE", "Scope of the network", complete="local|global|swarm"),
        value("config-from", "NETWORK", "Copy the settings of a network", complete="network"),
        switch("config-only", "Keep the settings only"),
    ),
    run=_run,
    examples=(
        ("kedge network create app", "A network with addresses the engine picks"),
        ("kedge network create --subnet 10.9.0.0/24 --internal db", "With addresses of your own"),
    ),
    at_least=1,
    at_most=1,
)
