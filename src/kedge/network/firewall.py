"""kedge's packet filter rules: one nf_tables table per engine, planned as plain requests.

The rules are fixed; what varies lies in sets and maps, so that the 201st published port costs as
much as the tenth and a change is one small transaction. The table (family inet, for both IP
versions) has these parts:

    prerouting, output   a connection to a local address and a published port goes to the container
    forward              established; same bridge; published; from a bridge to the outside; no more
    postrouting          container addresses are masqueraded towards the outside
    raw                  nobody reaches the host's 127.0.0.0/8 through a bridge

A verdict of ours that accepts does not overrule another table that drops, and no rule that is not
ours is ever touched.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.linux import nftables as nft
from kedge.linux import nftables_expressions as ex
from kedge.linux.netlink import Request

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}

_BRIDGES: Final = nft.SetSpec("bridges", (nft.IFNAME,))
_INTERNAL: Final = nft.SetSpec("internal", (nft.IFNAME,))
_SAME: Final = nft.SetSpec("same_bridge", (nft.IFNAME, nft.IFNAME))
_SUBNETS4: Final = nft.SetSpec("subnets4", (nft.IPV4_ADDR,), is_interval=True)
_SUBNETS6: Final = nft.SetSpec("subnets6", (nft.IPV6_ADDR,), is_interval=True)
_PORT: Final = (nft.INET_PROTO, nft.INET_SERVICE)
_TO4: Final = (nft.IPV4_ADDR, nft.INET_SERVICE)
_TO6: Final = (nft.IPV6_ADDR, nft.INET_SERVICE)
_ANY4: Final = nft.SetSpec("ports4", _PORT, _TO4)
_ANY6: Final = nft.SetSpec("ports6", _PORT, _TO6)
_ONE4: Final = nft.SetSpec("address_ports4", (nft.IPV4_ADDR, *_PORT), _TO4)
_ONE6: Final = nft.SetSpec("address_ports6", (nft.IPV6_ADDR, *_PORT), _TO6)
_SETS: Final = (_BRIDGES, _INTERNAL, _SAME, _SUBNETS4, _SUBNETS6, _ANY4, _ANY6, _ONE4, _ONE6)

_LINK_LOCAL: Final = ipaddress.IPv6Network("fe80::/10")
_IP4_SOURCE: Final = 12
_IP4_DESTINATION: Final = 16
_IP6_SOURCE: Final = 8
_IP6_DESTINATION: Final = 24
_ACCEPT: Final = ex.verdict(nft.NF_ACCEPT)
_DROP: Final = ex.verdict(nft.NF_DROP)
_RETURN: Final = ex.verdict(ex.NFT_RETURN)
_LOOPBACK4_SOURCE: Final = (
    ex.family_is(nft.NFPROTO_IPV4)
    + ex.payload(ex.PAYLOAD_NETWORK, _IP4_SOURCE, 1)
    + ex.compare(b"\x7f")
)
_LOOPBACK4_DESTINATION: Final = (
    ex.family_is(nft.NFPROTO_IPV4)
    + ex.payload(ex.PAYLOAD_NETWORK, _IP4_DESTINATION, 1)
    + ex.compare(b"\x7f")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRule:
    """What the packet filter must know about one bridge."""

    bridge: str
    subnets: tuple[IPNetwork, ...]
    is_internal: bool = False
    masquerade: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRule:
    """One published port: what arrives for the host goes to the container."""

    protocol: str
    host_address: IPAddress
    """An unspecified address (``0.0.0.0``, ``::``) stands for every local one."""
    host_port: int
    target: IPAddress
    target_port: int


def whole_table(
    table: str, bridges: Iterable[BridgeRule], ports: Iterable[PortRule]
) -> list[Request]:
    """Return the transaction that makes the table from nothing, whatever was in it before."""
    # Creating first makes the removal succeed whether or not the table is there.
    requests = [nft.new_table(table), nft.delete_table(table), nft.new_table(table)]
    requests += [nft.new_set(table, spec, set_id=n) for n, spec in enumerate(_SETS, start=1)]
    requests += _rules(table)
    for bridge in bridges:
        requests += add_bridge(table, bridge)
    return requests + add_ports(table, ports)


def add_bridge(table: str, rule: BridgeRule) -> list[Request]:
    """Return the requests that take a bridge in."""
    requests: list[Request] = []
    for spec, elements in _bridge_elements(rule):
        requests += nft.add_elements(table, spec, elements)
    return requests


def remove_bridge(table: str, rule: BridgeRule) -> list[Request]:
    """Return the requests that drop a bridge."""
    requests: list[Request] = []
    for spec, elements in _bridge_elements(rule):
        requests += nft.delete_elements(table, spec, elements)
    return requests


def add_ports(table: str, rules: Iterable[PortRule]) -> list[Request]:
    """Return the requests that publish ports."""
    requests: list[Request] = []
    for spec, elements in _port_elements(rules):
        requests += nft.add_elements(table, spec, elements)
    return requests


def remove_ports(table: str, rules: Iterable[PortRule]) -> list[Request]:
    """Return the requests that take published ports back."""
    requests: list[Request] = []
    for spec, elements in _port_elements(rules):
        requests += nft.delete_elements(table, spec, elements)
    return requests


def remove_table(table: str) -> list[Request]:
    """Return the transaction that removes everything of an engine, also when nothing is there."""
    return [nft.new_table(table), nft.delete_table(table)]


def _bridge_elements(rule: BridgeRule) -> list[tuple[nft.SetSpec, list[nft.Element]]]:
    name = nft.ifname_bytes(rule.bridge)
    found = [
        (_BRIDGES, [nft.Element(name)]),
        (_SAME, [nft.Element(nft.concatenate(name, name))]),
    ]
    if rule.is_internal:
        found.append((_INTERNAL, [nft.Element(name)]))
    if rule.masquerade and not rule.is_internal:
        for subnet in rule.subnets:
            spec = _SUBNETS4 if subnet.version == 4 else _SUBNETS6
            first = subnet.network_address.packed
            found.append((spec, [nft.Element(first, end=(subnet.broadcast_address + 1).packed)]))
    return found


def _port_elements(rules: Iterable[PortRule]) -> list[tuple[nft.SetSpec, list[nft.Element]]]:
    by_set: dict[nft.SetSpec, list[nft.Element]] = {}
    for rule in rules:
        key = [bytes([PROTOCOLS[rule.protocol]]), rule.host_port.to_bytes(2, "big")]
        if rule.host_address.is_unspecified:
            spec = _ANY4 if rule.host_address.version == 4 else _ANY6
        else:
            spec = _ONE4 if rule.host_address.version == 4 else _ONE6
            key.insert(0, rule.host_address.packed)
        data = nft.concatenate(rule.target.packed, rule.target_port.to_bytes(2, "big"))
        by_set.setdefault(spec, []).append(nft.Element(nft.concatenate(*key), data))
    return list(by_set.items())


def _rules(table: str) -> list[Request]:
    """Return chains before rules: a jump needs its target."""
    nat, plain = "nat", "filter"
    hooks: Sequence[tuple[str, nft.Hook | None]] = (
        ("raw", nft.Hook(plain, nft.NF_INET_PRE_ROUTING, nft.PRIORITY_RAW)),
        ("prerouting", nft.Hook(nat, nft.NF_INET_PRE_ROUTING, nft.PRIORITY_DSTNAT)),
        ("output", nft.Hook(nat, nft.NF_INET_LOCAL_OUT, nft.PRIORITY_DSTNAT)),
        ("forward", nft.Hook(plain, nft.NF_INET_FORWARD, nft.PRIORITY_FILTER)),
        ("postrouting", nft.Hook(nat, nft.NF_INET_POST_ROUTING, nft.PRIORITY_SRCNAT)),
        ("publish", None),
        ("guard", None),
    )
    requests = [nft.new_chain(table, name, hook) for name, hook in hooks]
    chains = {
        "raw": _RAW,
        "prerouting": _PREROUTING,
        "output": _OUTPUT,
        "publish": _publish_rules(),
        "forward": _FORWARD,
        "guard": _GUARD,
        "postrouting": _postrouting_rules(),
    }
    for chain, rules in chains.items():
        requests += [nft.add_rule(table, chain, rule) for rule in rules]
    return requests


# With route_localnet on, a container could otherwise route 127.0.0.1 to the host's own services.
# Replies to a published port pass: here they still carry the bridge's address.
_RAW: Final = [ex.interface_in(ex.META_IIFNAME, "bridges") + _LOOPBACK4_DESTINATION + _DROP]

_TO_PUBLISH: Final = ex.destination_is_local() + ex.verdict(ex.NFT_JUMP, "publish")

# A packet for 127.0.0.1 that comes over a wire must not reach a port published there: translation
# happens before the kernel's check for such packets. Local ones are translated in `output`.
_PREROUTING: Final = [_LOOPBACK4_DESTINATION + _RETURN, _TO_PUBLISH]

_OUTPUT: Final = [_TO_PUBLISH]

_FORWARD: Final = [
    ex.interface_in(ex.META_IIFNAME, "bridges") + ex.verdict(ex.NFT_GOTO, "guard"),
    ex.interface_in(ex.META_OIFNAME, "bridges") + ex.verdict(ex.NFT_GOTO, "guard"),
]

# `ct status dnat` lets in what was sent to a published port, and only that: the container's
# address is not reachable from outside the host, also when somebody routes it here.
_GUARD: Final = [
    ex.conntrack_has(ex.CT_STATE, ex.CT_STATE_ESTABLISHED_RELATED) + _ACCEPT,
    ex.interface_pair_in("same_bridge") + _ACCEPT,
    ex.interface_in(ex.META_IIFNAME, "internal") + _DROP,
    ex.interface_in(ex.META_OIFNAME, "internal") + _DROP,
    ex.conntrack_has(ex.CT_STATUS, ex.CT_STATUS_DNAT) + _ACCEPT,
    ex.interface_in(ex.META_OIFNAME, "bridges") + _DROP,
    _ACCEPT,
]


def _publish_rules() -> list[bytes]:
    """A port of one address wins over the same port of all addresses.

    Neither ::1 nor a link-local source can be routed to a bridge (there is no route_localnet for
    IPv6), so these connections stay with the port's socket and its userland proxy.
    """
    mask = _LINK_LOCAL.netmask.packed
    loopback6 = ipaddress.IPv6Address("::1").packed
    ipv6 = ex.family_is(nft.NFPROTO_IPV6)
    port = ex.meta(ex.META_L4PROTO)
    return [
        ipv6
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_SOURCE, 16)
        + ex.bitwise_and(mask)
        + ex.compare(_LINK_LOCAL.network_address.packed)
        + _RETURN,
        ipv6
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_DESTINATION, 16)
        + ex.compare(loopback6)
        + _RETURN,
        ex.family_is(nft.NFPROTO_IPV4)
        + ex.payload(ex.PAYLOAD_NETWORK, _IP4_DESTINATION, 4)
        + ex.meta(ex.META_L4PROTO, ex.REG32_01)
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_02)
        + ex.lookup(_ONE4.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV4),
        ipv6
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_DESTINATION, 16)
        + ex.meta(ex.META_L4PROTO, ex.REG_2)
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_05)
        + ex.lookup(_ONE6.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV6),
        ex.family_is(nft.NFPROTO_IPV4)
        + port
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_01)
        + ex.lookup(_ANY4.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV4),
        ipv6
        + port
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_01)
        + ex.lookup(_ANY6.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV6),
    ]


def _postrouting_rules() -> list[bytes]:
    """Masquerade what leaves, what comes from 127.0.0.1, and what returns to its own bridge.

    The last one is a container that reaches its neighbour, or itself, through a published port of
    the host: without it the answer would go straight back, untranslated. Between two bridges the
    answer passes the host anyway, so there the client keeps its address (second rule; kernels
    before 5.7 and bridged traffic under br_netfilter know no incoming interface here).
    """
    to_bridge = ex.interface_in(ex.META_OIFNAME, "bridges")
    from_subnet4 = (
        ex.family_is(nft.NFPROTO_IPV4)
        + ex.payload(ex.PAYLOAD_NETWORK, _IP4_SOURCE, 4)
        + ex.lookup(_SUBNETS4.name)
    )
    from_subnet6 = (
        ex.family_is(nft.NFPROTO_IPV6)
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_SOURCE, 16)
        + ex.lookup(_SUBNETS6.name)
    )
    translated = ex.conntrack_has(ex.CT_STATUS, ex.CT_STATUS_DNAT)
    outside = ex.interface_in(ex.META_OIFNAME, "bridges", inverted=True)
    return [
        ex.interface_is(ex.META_OIFNAME, "lo") + _RETURN,
        ex.interface_in(ex.META_IIFNAME, "bridges")
        + to_bridge
        + ex.interface_pair_in("same_bridge", inverted=True)
        + _RETURN,
        to_bridge + _LOOPBACK4_SOURCE + ex.masquerade(),
        to_bridge + translated + from_subnet4 + ex.masquerade(),
        to_bridge + translated + from_subnet6 + ex.masquerade(),
        outside + from_subnet4 + ex.masquerade(),
        outside + from_subnet6 + ex.masquerade(),
    ]
