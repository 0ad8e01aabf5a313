"""Links, addresses, routes and neighbours as rtnetlink requests.

Vocabulary of ``rtnetlink(7)`` and ``if_link.h``. Every function here is pure: it returns a
`Request` for `NetlinkSocket.batch`, or parses a dump's message. A link may be named by its index
or by its name, so that a batch can use what an earlier request of it creates.

Which links, addresses and routes a container gets is decided in `kedge.network`.
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
    attribute_string,
    attribute_text,
    attribute_u8,
    attribute_u32,
    nested,
    parse_attributes,
)

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

IFF_UP: Final = 0x1
IFNAMSIZ: Final = 16
LOOPBACK_INDEX: Final = 1
"""The loopback link has index 1 in every network namespace."""

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_SETLINK: Final = 19
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

_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_MASTER: Final = 10
_IFLA_LINKINFO: Final = 18
_IFLA_AF_SPEC: Final = 26
_IFLA_GROUP: Final = 27
_IFLA_NET_NS_FD: Final = 28
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_IFLA_INFO_SLAVE_KIND: Final = 4
_IFLA_INFO_SLAVE_DATA: Final = 5
_VETH_INFO_PEER: Final = 1
_IFLA_BRPORT_MODE: Final = 4
_IFLA_BRPORT_ISOLATED: Final = 33
_IFLA_INET_CONF: Final = 1
_IPV4_DEVCONF_ROUTE_LOCALNET: Final = 26
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_BROADCAST: Final = 4
_IFA_FLAGS: Final = 8
_IFA_F_NODAD: Final = 0x02
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PRIORITY: Final = 6
_RTA_TABLE: Final = 15
_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2

_IFINFO: Final = struct.Struct("=BxHiII")
_IFADDR: Final = struct.Struct("=BBBBI")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NDMSG: Final = struct.Struct("=BxxxiHBB")


class Link(NamedTuple):
    """One interface, from a dump."""

    ifindex: int
    name: str
    kind: str
    """``veth``, ``bridge``...; empty for hardware and the loopback."""
    mac: str
    mtu: int
    is_up: bool
    master: int
    """Index of the bridge it is a port of; 0 for none."""
    group: int
    """A number links can share, so that one request removes them all."""


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


def parse_mac(text: str) -> bytes:
    """Return the six bytes of a MAC address written with colons."""
    return bytes.fromhex(text.replace(":", ""))


def format_mac(address: bytes) -> str:
    """Return a MAC address in lower case with colons."""
    return address.hex(":")


def new_bridge(name: str, *, mac: str, mtu: int) -> Request:
    """Create a bridge that is up; its MAC stays when ports come and go."""
    body = (
        _link_header(flags=IFF_UP)
        + _link_attributes(name=name, mac=mac, mtu=mtu)
        + nested(_IFLA_LINKINFO, attribute_string(_IFLA_INFO_KIND, "bridge"))
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create bridge {name}")


class VethPeer(NamedTuple):
    """The far end of a veth pair, made directly in another network namespace."""

    name: str
    netns_fd: int
    mac: str


def new_veth(name: str, peer: VethPeer, *, mtu: int, master: int = 0) -> Request:
    """Create a veth pair, the near end up and a port of bridge ``master``.

    The far end stays down: `veth_open` refuses (ENOTCONN) until the two know each other.
    """
    far = (
        _link_header()
        + _link_attributes(name=peer.name, mac=peer.mac, mtu=mtu)
        + attribute_u32(_IFLA_NET_NS_FD, peer.netns_fd)
    )
    body = (
        _link_header(flags=IFF_UP)
        + _link_attributes(name=name, mtu=mtu)
        + (attribute_u32(_IFLA_MASTER, master) if master else b"")
        + nested(
            _IFLA_LINKINFO,
            attribute_string(_IFLA_INFO_KIND, "veth"),
            nested(_IFLA_INFO_DATA, nested(_VETH_INFO_PEER, far)),
        )
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create veth {name}")


def set_link(
    link: int | str,
    *,
    up: bool | None = None,
    mtu: int = 0,
    mac: str = "",
    rename: str = "",
    master: int = -1,
) -> Request:
    """Change an existing link; what is not given stays.

    Args:
        link: Index or name.
        up: Bring it up or down.
        mtu: New MTU.
        mac: New MAC address.
        rename: New name; then ``link`` must be an index.
        master: Index of the bridge to join; 0 leaves the present one.
    """
    flags = IFF_UP if up else 0
    body = (
        _link_header(link, flags=flags, change=0 if up is None else IFF_UP)
        + _link_attributes(name=rename or (link if isinstance(link, str) else ""), mac=mac, mtu=mtu)
        + (attribute_u32(_IFLA_MASTER, master) if master >= 0 else b"")
    )
    return Request(RTM_NEWLINK, 0, body, f"change link {link}")


def set_route_localnet(ifindex: int) -> Request:
    """Let packets with addresses of 127.0.0.0/8 pass this link (``net.ipv4.conf.*``).

    By netlink, because ``/proc/sys`` is read-only where an engine runs inside a container.
    """
    switch = attribute_u32(_IPV4_DEVCONF_ROUTE_LOCALNET, 1)
    inet = nested(socket.AF_INET, nested(_IFLA_INET_CONF, switch))
    body = _link_header(ifindex) + nested(_IFLA_AF_SPEC, inet)
    return Request(RTM_SETLINK, 0, body, f"set route_localnet of link {ifindex}")


def set_bridge_port(link: int | str, *, hairpin: bool, isolated: bool = False) -> Request:
    """Set a bridge port's options.

    Args:
        link: Index or name of the port.
        hairpin: Frames may leave by the port they came in by.
        isolated: The port exchanges no frames with other isolated ports.
    """
    data = nested(
        _IFLA_INFO_SLAVE_DATA,
        attribute_u8(_IFLA_BRPORT_MODE, hairpin),
        # Only when asked for: kernels before 4.18 do not know the attribute.
        attribute_u8(_IFLA_BRPORT_ISOLATED, 1) if isolated else b"",
    )
    body = (
        _link_header(link)
        + _link_attributes(name=link if isinstance(link, str) else "")
        + nested(_IFLA_LINKINFO, attribute_string(_IFLA_INFO_SLAVE_KIND, "bridge"), data)
    )
    return Request(RTM_NEWLINK, 0, body, f"change bridge port {link}")


def delete_link(link: int | str) -> Request:
    """Remove a link; a veth takes its peer with it."""
    name = link if isinstance(link, str) else ""
    body = _link_header(link) + _link_attributes(name=name)
    return Request(RTM_DELLINK, 0, body, f"remove link {link}")


def set_link_group(link: int | str, group: int) -> Request:
    """Put a link into a group; 0 is where links are by default."""
    name = link if isinstance(link, str) else ""
    body = _link_header(link) + _link_attributes(name=name) + attribute_u32(_IFLA_GROUP, group)
    return Request(RTM_NEWLINK, 0, body, f"change link {link}")


def delete_link_group(group: int) -> Request:
    """Remove all links of a group at once."""
    body = _link_header() + attribute_u32(_IFLA_GROUP, group)
    return Request(RTM_DELLINK, 0, body, f"remove link group {group}")


def get_link(link: int | str) -> Request:
    """Ask for one link."""
    name = link if isinstance(link, str) else ""
    body = _link_header(link) + _link_attributes(name=name)
    return Request(RTM_GETLINK, 0, body, f"look up link {link}")


def dump_links() -> Request:
    """Ask for all links of the socket's namespace."""
    return Request(RTM_GETLINK, NLM_F_DUMP, _link_header(), "list links")


def parse_link(message: Message) -> Link:
    """Return the link an ``RTM_NEWLINK`` answer describes."""
    _family, _type, ifindex, flags, _change = _IFINFO.unpack_from(message.body)
    values = parse_attributes(message.body[_IFINFO.size :])
    info = parse_attributes(values.get(_IFLA_LINKINFO, b""))
    return Link(
        ifindex=ifindex,
        name=attribute_text(values.get(_IFLA_IFNAME, b"")),
        kind=attribute_text(info.get(_IFLA_INFO_KIND, b"")),
        mac=format_mac(values.get(_IFLA_ADDRESS, b"")),
        mtu=_unpack_u32(values, _IFLA_MTU),
        is_up=bool(flags & IFF_UP),
        master=_unpack_u32(values, _IFLA_MASTER),
        group=_unpack_u32(values, _IFLA_GROUP),
    )


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
        ifindex=_unpack_u32(values, _RTA_OIF),
        table=_unpack_u32(values, _RTA_TABLE) or table,
        kind=kind,
        protocol=protocol,
        priority=_unpack_u32(values, _RTA_PRIORITY),
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


def _link_header(link: int | str = 0, *, flags: int = 0, change: int = 0) -> bytes:
    """Return a ``struct ifinfomsg``; a link given by name has index 0 here."""
    ifindex = link if isinstance(link, int) else 0
    return _IFINFO.pack(socket.AF_UNSPEC, 0, ifindex, flags, change or flags)


def _link_attributes(*, name: str = "", mac: str = "", mtu: int = 0) -> bytes:
    parts: list[bytes] = []
    if name:
        parts.append(attribute_string(_IFLA_IFNAME, name))
    if mac:
        parts.append(attribute(_IFLA_ADDRESS, parse_mac(mac)))
    if mtu:
        parts.append(attribute_u32(_IFLA_MTU, mtu))
    return b"".join(parts)


def _route_header(destination: IPNetwork, scope: int) -> bytes:
    address = destination.network_address
    length = destination.prefixlen
    header = _RTMSG.pack(
        _family(address), length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0
    )
    return header + (attribute(_RTA_DST, address.packed) if length else b"")


def _family(address: IPAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _unpack_u32(values: dict[int, bytes], kind: int) -> int:
    payload = values.get(kind)
    if payload is None or len(payload) < 4:
        return 0
    (value,) = struct.unpack_from("=I", payload)
    return int(value)
