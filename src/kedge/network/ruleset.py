"""The chains of kedge's inet table, as expressions. Pure.

What varies (bridges, subnets, ports) lies in sets that `kedge.network.firewall` fills; what these
rules must not let through across one bridge is the business of `kedge.network.spoofing`.
"""

import ipaddress
from typing import Final

from kedge.linux import nftables as nft
from kedge.linux import nftables_expressions as ex
from kedge.linux.netlink import Request

BRIDGES: Final = nft.SetSpec("bridges", (nft.IFNAME,))
INTERNAL: Final = nft.SetSpec("internal", (nft.IFNAME,))
SAME: Final = nft.SetSpec("same_bridge", (nft.IFNAME, nft.IFNAME))
SUBNETS4: Final = nft.SetSpec("subnets4", (nft.IPV4_ADDR,), is_interval=True)
SUBNETS6: Final = nft.SetSpec("subnets6", (nft.IPV6_ADDR,), is_interval=True)
SOURCES4: Final = nft.SetSpec("sources4", (nft.IPV4_ADDR,), (nft.IPV4_ADDR,), is_interval=True)
SOURCES6: Final = nft.SetSpec("sources6", (nft.IPV6_ADDR,), (nft.IPV6_ADDR,), is_interval=True)
_PORT: Final = (nft.INET_PROTO, nft.INET_SERVICE)
_TO4: Final = (nft.IPV4_ADDR, nft.INET_SERVICE)
_TO6: Final = (nft.IPV6_ADDR, nft.INET_SERVICE)
ANY4: Final = nft.SetSpec("ports4", _PORT, _TO4)
ANY6: Final = nft.SetSpec("ports6", _PORT, _TO6)
ONE4: Final = nft.SetSpec("address_ports4", (nft.IPV4_ADDR, *_PORT), _TO4)
ONE6: Final = nft.SetSpec("address_ports6", (nft.IPV6_ADDR, *_PORT), _TO6)
OPEN4: Final = nft.SetSpec("open4", (nft.IPV4_ADDR, *_PORT))
OPEN6: Final = nft.SetSpec("open6", (nft.IPV6_ADDR, *_PORT))
TRUSTED: Final = nft.SetSpec("trusted", (nft.IFNAME, nft.IFNAME))
DIRECT4: Final = nft.SetSpec("direct4", (nft.IPV4_ADDR, *_PORT))
DIRECT6: Final = nft.SetSpec("direct6", (nft.IPV6_ADDR, *_PORT))
ROUTED: Final = nft.SetSpec("routed", (nft.IFNAME, nft.NF_PROTO))
UNPROTECTED: Final = nft.SetSpec("unprotected", (nft.IFNAME, nft.NF_PROTO))
HOSTS4: Final = nft.SetSpec("internal_hosts4", (nft.IFNAME, nft.IPV4_ADDR))
HOSTS6: Final = nft.SetSpec("internal_hosts6", (nft.IFNAME, nft.IPV6_ADDR))
LOOPBACK4: Final = nft.SetSpec("loopback_ports4", (nft.IPV4_ADDR, *_PORT))
SETS: Final = (
    *(BRIDGES, INTERNAL, SAME, SUBNETS4, SUBNETS6, ANY4, ANY6, ONE4, ONE6),
    *(OPEN4, OPEN6, ROUTED, UNPROTECTED, HOSTS4, HOSTS6, LOOPBACK4),
    *(SOURCES4, SOURCES6, TRUSTED, DIRECT4, DIRECT6),
)

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


def _load_port(address_offset: int) -> bytes:
    """Load an IPv4 address of the packet, its protocol and the port it is for."""
    return (
        ex.payload(ex.PAYLOAD_NETWORK, address_offset, 4)
        + ex.meta(ex.META_L4PROTO, ex.REG32_01)
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_02)
    )


def ruleset(table: nft.Table) -> list[Request]:
    """Return chains before rules: a jump needs its target."""
    nat, plain = "nat", "filter"
    hooks: tuple[tuple[str, nft.Hook | None], ...] = (
        ("raw", nft.Hook(plain, nft.NF_INET_PRE_ROUTING, nft.PRIORITY_RAW)),
        ("prerouting", nft.Hook(nat, nft.NF_INET_PRE_ROUTING, nft.PRIORITY_DSTNAT)),
        ("output", nft.Hook(nat, nft.NF_INET_LOCAL_OUT, nft.PRIORITY_DSTNAT)),
        ("input", nft.Hook(plain, nft.NF_INET_LOCAL_IN, nft.PRIORITY_FILTER)),
        ("forward", nft.Hook(plain, nft.NF_INET_FORWARD, nft.PRIORITY_FILTER)),
        ("postrouting", nft.Hook(nat, nft.NF_INET_POST_ROUTING, nft.PRIORITY_SRCNAT)),
        ("bridged", None),
        ("publish", None),
        ("guard", None),
    )
    requests = [nft.new_chain(table, name, hook) for name, hook in hooks]
    chains = {
        "raw": _RAW,
        "bridged": _BRIDGED,
        "prerouting": _PREROUTING,
        "output": _OUTPUT,
        "publish": _publish_rules(),
        "input": _input_rules(),
        "forward": _FORWARD,
        "guard": _GUARD,
        "postrouting": _postrouting_rules(),
    }
    for chain, rules in chains.items():
        requests += [nft.add_rule(table, chain, rule) for rule in rules]
    return requests


# Every packet passes these: what is decided for most of them comes first, by the fewest lookups.
_ESTABLISHED: Final = ex.conntrack_has(ex.CT_STATE, ex.CT_STATE_ESTABLISHED_RELATED) + _ACCEPT

# A host that has route_localnet on for its other links, too, as kube-proxy wants it, would take in
# what a neighbour sends to a port that is published on 127.0.0.1.
_RAW: Final = [
    ex.interface_in(ex.META_IIFNAME, "bridges") + ex.verdict(ex.NFT_GOTO, "bridged"),
    _LOOPBACK4_DESTINATION
    + ex.interface_is(ex.META_IIFNAME, "lo", equal=False)
    + _load_port(_IP4_DESTINATION)
    + ex.lookup(LOOPBACK4.name)
    + _DROP,
]

# With route_localnet on, a container could otherwise route 127.0.0.1 to the host's own services.
# Replies to a published port pass: here they still carry the bridge's address.
# Nor may anybody behind a bridge claim to be the host; the kernel itself sees to it for IPv4 only.
_BRIDGED: Final = [_LOOPBACK4_DESTINATION + _DROP, ex.source_is_local() + _DROP]

_TO_PUBLISH: Final = ex.destination_is_local() + ex.verdict(ex.NFT_JUMP, "publish")

# A packet for 127.0.0.1 that comes over a wire must not reach a port published there: translation
# happens before the kernel's check for such packets. Local ones are translated in `output`.
_PREROUTING: Final = [_LOOPBACK4_DESTINATION + _RETURN, _TO_PUBLISH]

_OUTPUT: Final = [_TO_PUBLISH]

_FORWARD: Final = [
    _ESTABLISHED,
    ex.interface_in(ex.META_IIFNAME, "bridges") + ex.verdict(ex.NFT_GOTO, "guard"),
    ex.interface_in(ex.META_OIFNAME, "bridges") + ex.verdict(ex.NFT_GOTO, "guard"),
]

_ICMP, _ICMPV6 = 1, 58
_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 135, 136


def _input_rules() -> list[bytes]:
    """Of the host, an internal network has the gateway's address and no other.

    Not the addresses of its other links, nor a service on ``::`` by a link-local address. Who is
    the gateway must be known, so neighbour discovery passes; ARP is not looked at here.
    """
    is_icmpv6 = ex.meta(ex.META_L4PROTO) + ex.compare(bytes([_ICMPV6]))
    neighbours = ex.in_range(bytes([_NEIGHBOUR_SOLICITATION]), bytes([_NEIGHBOUR_ADVERTISEMENT]))
    incoming = ex.meta(ex.META_IIFNAME)
    return [
        _ESTABLISHED,
        ex.interface_in(ex.META_IIFNAME, "internal", inverted=True) + _ACCEPT,
        ex.family_is(nft.NFPROTO_IPV4)
        + incoming
        + ex.payload(ex.PAYLOAD_NETWORK, _IP4_DESTINATION, 4, ex.REG_2)
        + ex.lookup(HOSTS4.name)
        + _ACCEPT,
        ex.family_is(nft.NFPROTO_IPV6)
        + incoming
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_DESTINATION, 16, ex.REG_2)
        + ex.lookup(HOSTS6.name)
        + _ACCEPT,
        is_icmpv6 + ex.payload(ex.PAYLOAD_TRANSPORT, 0, 1) + neighbours + _ACCEPT,
        _DROP,
    ]


_OUT_AND_FAMILY: Final = ex.meta(ex.META_OIFNAME) + ex.meta(ex.META_NFPROTO, ex.REG_2)


def _open_port(family: int, ports: nft.SetSpec, offset: int, size: int) -> bytes:
    """Accept what is for a port that a container has published on its own address."""
    protocol, port = (
        (ex.REG32_01, ex.REG32_02) if family == nft.NFPROTO_IPV4 else (ex.REG_2, ex.REG32_05)
    )
    return (
        ex.family_is(family)
        + ex.payload(ex.PAYLOAD_NETWORK, offset, size)
        + ex.meta(ex.META_L4PROTO, protocol)
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, port)
        + ex.lookup(ports.name)
        + _ACCEPT
    )


_FROM_TRUSTED: Final = ex.interface_pair_in(TRUSTED.name)


def _echo_to_routed(protocol: int) -> bytes:
    """Accept ICMP for a routed network, which is otherwise hard to look after."""
    return (
        ex.meta(ex.META_L4PROTO)
        + ex.compare(bytes([protocol]))
        + _OUT_AND_FAMILY
        + ex.lookup(ROUTED.name)
        + _ACCEPT
    )


# `ct status dnat` lets in what was sent to a published port, and only that: the container's
# address is not reachable from outside the host, also when somebody routes it here, unless the
# network's gateway mode says so, or its options that the packet's link is trusted.
_GUARD: Final = [
    ex.interface_pair_in("same_bridge") + _ACCEPT,
    ex.interface_in(ex.META_IIFNAME, "internal") + _DROP,
    ex.interface_in(ex.META_OIFNAME, "internal") + _DROP,
    ex.conntrack_has(ex.CT_STATUS, ex.CT_STATUS_DNAT) + _ACCEPT,
    _open_port(nft.NFPROTO_IPV4, OPEN4, _IP4_DESTINATION, 4),
    _open_port(nft.NFPROTO_IPV6, OPEN6, _IP6_DESTINATION, 16),
    _FROM_TRUSTED + _open_port(nft.NFPROTO_IPV4, DIRECT4, _IP4_DESTINATION, 4),
    _FROM_TRUSTED + _open_port(nft.NFPROTO_IPV6, DIRECT6, _IP6_DESTINATION, 16),
    _echo_to_routed(_ICMP),
    _echo_to_routed(_ICMPV6),
    _OUT_AND_FAMILY + ex.lookup(UNPROTECTED.name) + _ACCEPT,
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
        + _load_port(_IP4_DESTINATION)
        + ex.lookup(ONE4.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV4),
        ipv6
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_DESTINATION, 16)
        + ex.meta(ex.META_L4PROTO, ex.REG_2)
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_05)
        + ex.lookup(ONE6.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV6),
        ex.family_is(nft.NFPROTO_IPV4)
        + port
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_01)
        + ex.lookup(ANY4.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV4),
        ipv6
        + port
        + ex.payload(ex.PAYLOAD_TRANSPORT, 2, 2, ex.REG32_01)
        + ex.lookup(ANY6.name, is_map=True)
        + ex.destination_nat(nft.NFPROTO_IPV6),
    ]


def _postrouting_rules() -> list[bytes]:
    """Translate what leaves, what comes from 127.0.0.1, and what returns to its own bridge.

    The last one is a container that reaches its neighbour, or itself, through a published port of
    the host: without it the answer would go straight back, untranslated. Between two bridges the
    answer passes the host anyway, so there the client keeps its address (second rule; kernels
    before 5.7 and bridged traffic under br_netfilter know no incoming interface here).
    """
    to_bridge = ex.interface_in(ex.META_OIFNAME, "bridges")
    from_subnet4 = (
        ex.family_is(nft.NFPROTO_IPV4)
        + ex.payload(ex.PAYLOAD_NETWORK, _IP4_SOURCE, 4)
        + ex.lookup(SUBNETS4.name)
    )
    from_subnet6 = (
        ex.family_is(nft.NFPROTO_IPV6)
        + ex.payload(ex.PAYLOAD_NETWORK, _IP6_SOURCE, 16)
        + ex.lookup(SUBNETS6.name)
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
        outside + _source_of(nft.NFPROTO_IPV4, SOURCES4, _IP4_SOURCE, 4),
        outside + _source_of(nft.NFPROTO_IPV6, SOURCES6, _IP6_SOURCE, 16),
        outside + from_subnet4 + ex.masquerade(),
        outside + from_subnet6 + ex.masquerade(),
    ]


def _source_of(family: int, sources: nft.SetSpec, offset: int, size: int) -> bytes:
    """Translate what comes from a network that has an address of the host's for that."""
    return (
        ex.family_is(family)
        + ex.payload(ex.PAYLOAD_NETWORK, offset, size)
        + ex.lookup(sources.name, is_map=True)
        + ex.source_nat(family)
    )
