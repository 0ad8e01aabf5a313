"""Addresses, routes and neighbours as rtnetlink requests.

Vocabulary of ``rtnetlink(7)``. Every function here is pure: it returns a `Request` for
`NetlinkSocket.batch`, or parses a dump's message. Links are in `rtnetlink`.
"""

import ipaddress
import socket
import struct
from typing import Final, NamedTuple, TypeAlias

from kedge.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Request,
    attribute,
    attribute_u32,
    parse_attributes,
)
from kedge.linux.rtnetlink import format_mac, parse_mac, unpack_u32

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_NEWNEIGH: Final = 28
RTM_DELNEIGH: Final = 29
RTM_GETNEIGH: Final = 30
RTN_UNICAST: Final = 1
RTPROT_BOOT: Final = 3
RTPROT_RA: Final = 9
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RT_TABLE_MAIN: Final = 254
NUD_PERMANENT: Final = 0x80
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_BROADCAST: Final = 4
_IFA_FLAGS: Final = 8
_IFA_F_NODAD: Final = 0x02
_IFA_F_PERMANENT: Final = 0x80
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PRIORITY: Final = 6
_RTA_TABLE: Final = 15
_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
_IFADDR: Final = struct.Struct("=BBBBI")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NDMSG: Final = struct.Struct("=BxxxiHBB")


class Address(NamedTuple):
    """One address of an interface, from a dump."""

    ifindex: int
    interface: IPInterface


class Route(NamedTuple):
    """One route, from a dump; the default route has prefix length 0."""

    destination: IPNetwork
    gateway: IPAddress | None
    ifindex: int
    table: int
    kind: int
    protocol: int
    priority: int


class Neighbour(NamedTuple):
    """One neighbour (ARP or NDP) entry, from a dump."""

    ifindex: int
    address: IPAddress
    mac: str
    state: int


def new_address(ifindex: int, interface: IPInterface) -> Request:
    """Give a link an address; an IPv6 one is usable at once, without duplicate detection."""
    packed = interface.ip.packed
    body = _IFADDR.pack(_family(interface.ip), interface.network.prefixlen, 0, 0, ifindex)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if interface.version == 4:
        broadcast = interface.network.broadcast_address.packed
        if interface.network.prefixlen < 31:
            body += attribute(_IFA_BROADCAST, broadcast)
    else:
        body += attribute_u32(_IFA_FLAGS, _IFA_F_NODAD)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWADDR, flags, body, f"add address {interface}")


def delete_address(ifindex: int, interface: IPInterface) -> Request:
    """Take an address from a link."""
    packed = interface.ip.packed
    body = _IFADDR.pack(_family(interface.ip), interface.network.prefixlen, 0, 0, ifindex)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return Request(RTM_DELADDR, 0, body, f"remove address {interface}")


def dump_addresses(family: int = socket.AF_UNSPEC) -> Request:
    """Ask for all addresses, of one family or of both."""
    return Request(RTM_GETADDR, NLM_F_DUMP, _IFADDR.pack(family, 0, 0, 0, 0), "list addresses")


def parse_address(message: Message) -> Address:
    """Return the address an ``RTM_NEWADDR`` answer describes."""
    _family, prefix_length, _flags, _scope, ifindex = _IFADDR.unpack_from(message.body)
    values = parse_attributes(message.body[_IFADDR.size :])
    # On a point-to-point link IFA_ADDRESS is the other end's.
    packed = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS, b"")
    address = ipaddress.ip_address(packed)
    return Address(ifindex, ipaddress.ip_interface(f"{address}/{prefix_length}"))


def parse_lasting_address(message: Message) -> Address | None:
    """Return the address of an answer if it is permanent and valid everywhere, else None."""
    _family, _length, flags, scope, _ifindex = _IFADDR.unpack_from(message.body)
    values = parse_attributes(message.body[_IFADDR.size :])
    flags |= unpack_u32(values, _IFA_FLAGS)
    if scope != RT_SCOPE_UNIVERSE or not flags & _IFA_F_PERMANENT:
        return None
    return parse_address(message)


def new_route(
    destination: IPNetwork, *, ifindex: int, gateway: IPAddress | None = None, priority: int = 0
) -> Request:
    """Add a route to the main table, or replace the one of the same metric.

    Args:
        destination: Network; prefix length 0 for the default route.
        ifindex: Outgoing link.
        gateway: Next hop; None for a network on the link itself.
        priority: Metric; 0 for the kernel's default.
    """
    scope = RT_SCOPE_UNIVERSE if gateway is not None else RT_SCOPE_LINK
    body = _route_header(destination, scope) + attribute_u32(_RTA_OIF, ifindex)
    if gateway is not None:
        body += attribute(_RTA_GATEWAY, gateway.packed)
    if priority:
        body += attribute_u32(_RTA_PRIORITY, priority)
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, f"add route {destination}")


def delete_route(destination: IPNetwork, *, ifindex: int) -> Request:
    """Remove a route from the main table."""
    body = _route_header(destination, 255) + attribute_u32(_RTA_OIF, ifindex)
    return Request(RTM_DELROUTE, 0, body, f"remove route {destination}")


def dump_routes(family: int) -> Request:
    """Ask for all routes of one family, of all tables."""
    body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    return Request(RTM_GETROUTE, NLM_F_DUMP, body, "list routes")


def parse_route(message: Message) -> Route:
    """Return the route an ``RTM_NEWROUTE`` answer describes."""
    family, length, _source, _tos, table, protocol, _scope, kind, _flags = _RTMSG.unpack_from(
        message.body
    )
    values = parse_attributes(message.body[_RTMSG.size :])
    zero = bytes(4 if family == socket.AF_INET else 16)
    destination = ipaddress.ip_address(values.get(_RTA_DST, zero))
    gateway = values.get(_RTA_GATEWAY)
    return Route(
        destination=ipaddress.ip_network(f"{destination}/{length}", strict=False),
        gateway=ipaddress.ip_address(gateway) if gateway is not None else None,
        ifindex=unpack_u32(values, _RTA_OIF),
        table=unpack_u32(values, _RTA_TABLE) or table,
        kind=kind,
        protocol=protocol,
        priority=unpack_u32(values, _RTA_PRIORITY),
    )


def new_neighbour(ifindex: int, address: IPAddress, mac: str) -> Request:
    """Add or replace a permanent neighbour entry."""
    body = _NDMSG.pack(_family(address), ifindex, NUD_PERMANENT, 0, RTN_UNICAST)
    body += attribute(_NDA_DST, address.packed) + attribute(_NDA_LLADDR, parse_mac(mac))
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Request(RTM_NEWNEIGH, flags, body, f"add neighbour {address}")


def delete_neighbour(ifindex: int, address: IPAddress) -> Request:
    """Forget what is known about a neighbour."""
    body = _NDMSG.pack(_family(address), ifindex, 0, 0, 0) + attribute(_NDA_DST, address.packed)
    return Request(RTM_DELNEIGH, 0, body, f"remove neighbour {address}")


def dump_neighbours(family: int) -> Request:
    """Ask for all neighbour entries of one family."""
    return Request(RTM_GETNEIGH, NLM_F_DUMP, _NDMSG.pack(family, 0, 0, 0, 0), "list neighbours")


def parse_neighbour(message: Message) -> Neighbour:
    """Return the entry an ``RTM_NEWNEIGH`` answer describes."""
    _family, ifindex, state, _flags, _type = _NDMSG.unpack_from(message.body)
    values = parse_attributes(message.body[_NDMSG.size :])
    address = ipaddress.ip_address(values[_NDA_DST])
    return Neighbour(ifindex, address, format_mac(values.get(_NDA_LLADDR, b"")), state)


def _route_header(destination: IPNetwork, scope: int) -> bytes:
    address = destination.network_address
    length = destination.prefixlen
    header = _RTMSG.pack(
        _family(address), length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0
    )
    return header + (attribute(_RTA_DST, address.packed) if length else b"")


def _family(address: IPAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
