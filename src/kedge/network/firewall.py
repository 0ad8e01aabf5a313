"""kedge's packet filter rules: one nf_tables table per engine, planned as plain requests.

The rules are fixed; what varies lies in sets and maps, so that the 201st published port costs as
much as the tenth and a change is one small transaction. Two families need a table each, and both
have the same name. That for both IP versions (inet; its chains are in `ruleset`):

    prerouting, output   a connection to a local address and a published port goes to the container
    input                an internal network reaches no address of the host but its own gateway's
    forward              established; same bridge; published; from a bridge to the outside; no more
    postrouting          container addresses are masqueraded towards the outside
    raw                  nobody reaches the host's 127.0.0.0/8 through a bridge, or claims to be it;
                         nobody but the host itself reaches what is published there

And that for frames within a bridge (bridge, see `spoofing`): nobody uses another's address.

A verdict of ours that accepts does not overrule another table that drops, and no rule that is not
ours is ever touched.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.linux import nftables as nft
from kedge.linux.netlink import Request
from kedge.network import spoofing
from kedge.network.model import GatewayMode
from kedge.network.ruleset import (
    ANY4,
    ANY6,
    BRIDGES,
    DIRECT4,
    DIRECT6,
    HOSTS4,
    HOSTS6,
    INTERNAL,
    LOOPBACK4,
    ONE4,
    ONE6,
    OPEN4,
    OPEN6,
    ROUTED,
    SAME,
    SETS,
    SOURCES4,
    SOURCES6,
    SUBNETS4,
    SUBNETS6,
    TRUSTED,
    UNPROTECTED,
    ruleset,
)

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRule:
    """What the packet filter must know about one bridge."""

    bridge: str
    subnets: tuple[IPNetwork, ...]
    gateways: tuple[IPAddress, ...] = ()
    """The bridge's own addresses, which no container may use."""
    hosts: tuple[IPAddress, ...] = ()
    """Those it really has, for containers of an internal network to reach the host by."""
    is_internal: bool = False
    masquerade: bool = True
    sources: tuple[IPAddress, ...] = ()
    """The host's addresses that what leaves the network is translated to, at most one a version."""
    trusted: tuple[str, ...] = ()
    """The host's links from which published ports are reached by the containers' own addresses."""
    mode4: GatewayMode = GatewayMode.NAT
    mode6: GatewayMode = GatewayMode.NAT

    def mode(self, version: int) -> GatewayMode:
        """Return the gateway mode of an IP version."""
        return self.mode4 if version == 4 else self.mode6


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRule:
    """One published port: what arrives for the host goes to the container."""

    protocol: str
    host_address: IPAddress
    """An unspecified address (``0.0.0.0``, ``::``) stands for every local one."""
    host_port: int
    target: IPAddress
    target_port: int
    is_direct: bool = False
    """Whether the container's own address leads there, too, from where the network trusts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPort:
    """A published port of a routed network: the container is reached by its own address."""

    protocol: str
    target: IPAddress
    target_port: int


AnyPort: TypeAlias = PortRule | OpenPort


def whole_table(
    table: str,
    bridges: Iterable[BridgeRule],
    ports: Iterable[AnyPort],
    guard: spoofing.LinkGuard | None = None,
) -> list[Request]:
    """Return the transaction that makes the table from nothing, whatever was in it before.

    Args:
        table: Its name.
        bridges: The bridges it knows.
        ports: The published ports.
        guard: The links of containers; None where the kernel cannot filter frames.
    """
    own = nft.Table(table)
    # Creating first makes the removal succeed whether or not the table is there.
    requests = [nft.new_table(own), nft.delete_table(own), nft.new_table(own)]
    requests += [nft.new_set(own, spec, set_id=n) for n, spec in enumerate(SETS, start=1)]
    requests += ruleset(own)
    for bridge in bridges:
        requests += add_bridge(table, bridge)
    requests += add_ports(table, ports)
    return requests + (guard.whole_table(first_set_id=len(SETS) + 1) if guard is not None else [])


def add_bridge(table: str, rule: BridgeRule) -> list[Request]:
    """Return the requests that take a bridge in."""
    requests: list[Request] = []
    for spec, elements in _bridge_elements(rule):
        requests += nft.add_elements(nft.Table(table), spec, elements)
    return requests


def remove_bridge(table: str, rule: BridgeRule) -> list[Request]:
    """Return the requests that drop a bridge."""
    requests: list[Request] = []
    for spec, elements in _bridge_elements(rule):
        requests += nft.delete_elements(nft.Table(table), spec, elements)
    return requests


def add_ports(table: str, rules: Iterable[AnyPort]) -> list[Request]:
    """Return the requests that publish ports."""
    requests: list[Request] = []
    for spec, elements in _port_elements(rules):
        requests += nft.add_elements(nft.Table(table), spec, elements)
    return requests


def remove_ports(table: str, rules: Iterable[AnyPort]) -> list[Request]:
    """Return the requests that take published ports back."""
    requests: list[Request] = []
    for spec, elements in _port_elements(rules):
        requests += nft.delete_elements(nft.Table(table), spec, elements)
    return requests


def remove_table(table: str, *, guarded: bool = False) -> list[Request]:
    """Return the transaction that removes everything of an engine, also when nothing is there."""
    own = nft.Table(table)
    return [
        *(nft.new_table(own), nft.delete_table(own)),
        *(spoofing.remove_table(table) if guarded else []),
    ]


def _bridge_elements(rule: BridgeRule) -> list[tuple[nft.SetSpec, list[nft.Element]]]:
    name = nft.ifname_bytes(rule.bridge)
    found = [
        (BRIDGES, [nft.Element(name)]),
        (SAME, [nft.Element(nft.concatenate(name, name))]),
    ]
    if rule.is_internal:
        found.append((INTERNAL, [nft.Element(name)]))
        found += [
            (
                HOSTS4 if address.version == 4 else HOSTS6,
                [nft.Element(nft.concatenate(name, address.packed))],
            )
            for address in rule.hosts
        ]
    for link in rule.trusted:
        found.append((TRUSTED, [nft.Element(nft.concatenate(nft.ifname_bytes(link), name))]))
    for subnet in rule.subnets:
        mode = rule.mode(subnet.version)
        spec = SUBNETS4 if subnet.version == 4 else SUBNETS6
        if rule.masquerade and not rule.is_internal and mode is not GatewayMode.ROUTED:
            first, end = subnet.network_address.packed, (subnet.broadcast_address + 1).packed
            found.append((spec, [nft.Element(first, end=end)]))
            found += [
                (
                    SOURCES4 if source.version == 4 else SOURCES6,
                    [nft.Element(first, source.packed, end)],
                )
                for source in rule.sources
                if source.version == subnet.version
            ]
        family = nft.NFPROTO_IPV4 if subnet.version == 4 else nft.NFPROTO_IPV6
        kept = {GatewayMode.ROUTED: ROUTED, GatewayMode.NAT_UNPROTECTED: UNPROTECTED}.get(mode)
        if kept is not None:
            found.append((kept, [nft.Element(nft.concatenate(name, bytes([family])))]))
    return found


def _port_elements(rules: Iterable[AnyPort]) -> list[tuple[nft.SetSpec, list[nft.Element]]]:
    by_set: dict[nft.SetSpec, list[nft.Element]] = {}
    for rule in rules:
        if isinstance(rule, OpenPort):
            pairs = [_open_element(rule, OPEN4, OPEN6)]
        else:
            pairs = [_element(rule)]
            address = rule.host_address
            if address.version == 4 and address.is_loopback:
                pairs.append((LOOPBACK4, nft.Element(pairs[0][1].key)))
            if rule.is_direct:
                pairs.append(_open_element(rule, DIRECT4, DIRECT6))
        for spec, element in pairs:
            by_set.setdefault(spec, []).append(element)
    # Two ports of the host may lead to one of the container.
    return [(spec, [*dict.fromkeys(elements)]) for spec, elements in by_set.items()]


def _open_element(
    rule: AnyPort, spec4: nft.SetSpec, spec6: nft.SetSpec
) -> tuple[nft.SetSpec, nft.Element]:
    spec = spec4 if rule.target.version == 4 else spec6
    protocol, port = bytes([PROTOCOLS[rule.protocol]]), rule.target_port.to_bytes(2, "big")
    return spec, nft.Element(nft.concatenate(rule.target.packed, protocol, port))


def _element(rule: PortRule) -> tuple[nft.SetSpec, nft.Element]:
    key = [bytes([PROTOCOLS[rule.protocol]]), rule.host_port.to_bytes(2, "big")]
    if rule.host_address.is_unspecified:
        spec = ANY4 if rule.host_address.version == 4 else ANY6
    else:
        spec = ONE4 if rule.host_address.version == 4 else ONE6
        key.insert(0, rule.host_address.packed)
    data = nft.concatenate(rule.target.packed, rule.target_port.to_bytes(2, "big"))
    return spec, nft.Element(nft.concatenate(*key), data)
