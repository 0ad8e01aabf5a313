"""Links as rtnetlink requests: bridges, veth pairs, bridge ports.

Vocabulary of ``rtnetlink(7)`` and ``if_link.h``. Every function here is pure: it returns a
`Request` for `NetlinkSocket.batch`, or parses a dump's message. A link may be named by its index
or by its name, so that a batch can use what an earlier request of it creates.

Addresses and routes are in `rtnetlink_addresses`; which ones a container gets is decided in
`kedge.network`.
"""

import socket
import struct
from typing import Final, NamedTuple

from kedge.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
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

IFF_UP: Final = 0x1
IFNAMSIZ: Final = 16
LOOPBACK_INDEX: Final = 1
"""The loopback link has index 1 in every network namespace."""

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_SETLINK: Final = 19


_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_LINK: Final = 5
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
_IFLA_INET6_ADDR_GEN_MODE: Final = 8
_IN6_ADDR_GEN_MODE_NONE: Final = 1
_IPV4_DEVCONF_ROUTE_LOCALNET: Final = 26
_IFLA_MACVLAN_MODE: Final = 1
_IFLA_IPVLAN_MODE: Final = 1
_IFLA_IPVLAN_FLAGS: Final = 2
_IFLA_VLAN_ID: Final = 1

MACVLAN_MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
"""Values of ``enum macvlan_mode`` in ``if_link.h``."""
IPVLAN_MODES: Final = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS: Final = {"bridge": 0, "private": 1, "vepa": 2}

_IFINFO: Final = struct.Struct("=BxHiII")


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


class Child(NamedTuple):
    """A link on top of another one of this namespace, made in perhaps another namespace."""

    name: str
    parent: int
    """Index of the link below."""
    netns_fd: int = -1
    """Where it is made; -1 for here."""
    mac: str = ""
    mtu: int = 0


def new_macvlan(child: Child, *, mode: str) -> Request:
    """Create a link with a MAC address of its own on its parent's wire; it stays down."""
    return _new_child(child, "macvlan", attribute_u32(_IFLA_MACVLAN_MODE, MACVLAN_MODES[mode]))


def new_ipvlan(child: Child, *, mode: str, flag: str = "bridge") -> Request:
    """Create a link that shares its parent's MAC address; it stays down."""
    data = attribute(_IFLA_IPVLAN_MODE, struct.pack("=H", IPVLAN_MODES[mode])) + attribute(
        _IFLA_IPVLAN_FLAGS, struct.pack("=H", IPVLAN_FLAGS[flag])
    )
    return _new_child(child, "ipvlan", data)


def new_vlan(child: Child, *, vlan_id: int) -> Request:
    """Create the sub-interface that carries one VLAN of its parent; it stays down."""
    return _new_child(child, "vlan", attribute(_IFLA_VLAN_ID, struct.pack("=H", vlan_id)))


def new_dummy(name: str) -> Request:
    """Create a link with nothing behind it; it stays down."""
    info = nested(_IFLA_LINKINFO, attribute_string(_IFLA_INFO_KIND, "dummy"))
    body = _link_header() + _link_attributes(name=name) + info
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create dummy {name}")


def _new_child(child: Child, kind: str, data: bytes) -> Request:
    body = (
        _link_header()
        + _link_attributes(name=child.name, mac=child.mac, mtu=child.mtu)
        + attribute_u32(_IFLA_LINK, child.parent)
        + (attribute_u32(_IFLA_NET_NS_FD, child.netns_fd) if child.netns_fd >= 0 else b"")
        + nested(
            _IFLA_LINKINFO,
            attribute_string(_IFLA_INFO_KIND, kind),
            nested(_IFLA_INFO_DATA, data),
        )
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create {kind} {child.name}")


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


def move_link(ifindex: int, netns_fd: int, *, rename: str) -> Request:
    """Move a link to another network namespace, where it is down.

    Args:
        ifindex: Of the link, in the socket's namespace.
        netns_fd: The other namespace.
        rename: Its name there; ``%d`` in it stands for the first free number.
    """
    body = (
        _link_header(ifindex)
        + attribute_string(_IFLA_IFNAME, rename)
        + attribute_u32(_IFLA_NET_NS_FD, netns_fd)
    )
    return Request(RTM_NEWLINK, 0, body, f"move link {ifindex}")


def set_route_localnet(ifindex: int) -> Request:
    """Let packets with addresses of 127.0.0.0/8 pass this link (``net.ipv4.conf.*``).

    By netlink, because ``/proc/sys`` is read-only where an engine runs inside a container.
    """
    switch = attribute_u32(_IPV4_DEVCONF_ROUTE_LOCALNET, 1)
    inet = nested(socket.AF_INET, nested(_IFLA_INET_CONF, switch))
    body = _link_header(ifindex) + nested(_IFLA_AF_SPEC, inet)
    return Request(RTM_SETLINK, 0, body, f"set route_localnet of link {ifindex}")


def set_no_link_local(ifindex: int) -> Request:
    """Give this link no IPv6 address of the kernel's own making when it goes up.

    The kernel answers EAFNOSUPPORT where it has no IPv6 or the link's MTU is too small for it.
    """
    mode = attribute_u8(_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE)
    body = _link_header(ifindex) + nested(_IFLA_AF_SPEC, nested(socket.AF_INET6, mode))
    return Request(RTM_SETLINK, 0, body, f"switch off addresses of link {ifindex}")


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
        mtu=unpack_u32(values, _IFLA_MTU),
        is_up=bool(flags & IFF_UP),
        master=unpack_u32(values, _IFLA_MASTER),
        group=unpack_u32(values, _IFLA_GROUP),
    )


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


def unpack_u32(values: dict[int, bytes], kind: int) -> int:
    """Return a 32-bit attribute in the machine's byte order; 0 where it is missing."""
    payload = values.get(kind)
    if payload is None or len(payload) < 4:
        return 0
    (value,) = struct.unpack_from("=I", payload)
    return int(value)
