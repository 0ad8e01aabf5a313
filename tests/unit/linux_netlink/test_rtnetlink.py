import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.netlink import Message, Request, parse_attributes

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=15)
macs = st.binary(min_size=6, max_size=6).map(rt.format_mac)
addresses = st.ip_addresses()
indexes = st.integers(min_value=1, max_value=2**31 - 1)


def echoed(request: Request) -> Message:
    """The kernel's dumps have the shape of the requests that made the objects."""
    return Message(request.type, 0, 0, request.body)


@given(names, macs, st.integers(min_value=68, max_value=65535))
def test_a_bridge_comes_back(name: str, mac: str, mtu: int) -> None:
    link = rt.parse_link(echoed(rt.new_bridge(name, mac=mac, mtu=mtu)))
    assert (link.name, link.kind, link.mac, link.mtu, link.is_up) == (
        name,
        "bridge",
        mac,
        mtu,
        True,
    )


@given(indexes, addresses, st.data())
def test_an_address_comes_back(index: int, address: ra.IPAddress, data: st.DataObject) -> None:
    length = data.draw(st.integers(min_value=0, max_value=address.max_prefixlen))
    interface = ipaddress.ip_interface(f"{address}/{length}")
    found = ra.parse_address(echoed(ra.new_address(index, interface)))
    assert found == ra.Address(index, interface)


@given(indexes, addresses, addresses, st.integers(min_value=0, max_value=2**32 - 1), st.data())
def test_a_route_comes_back(
    index: int, address: ra.IPAddress, gateway: ra.IPAddress, priority: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(min_value=0, max_value=address.max_prefixlen))
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    way = gateway if gateway.version == address.version else None
    request = ra.new_route(network, ifindex=index, gateway=way, priority=priority)
    found = ra.parse_route(echoed(request))
    assert (found.destination, found.gateway, found.ifindex) == (network, way, index)
    assert (found.table, found.priority) == (ra.RT_TABLE_MAIN, priority)


@given(indexes, addresses, macs)
def test_a_neighbour_comes_back(index: int, address: ra.IPAddress, mac: str) -> None:
    found = ra.parse_neighbour(echoed(ra.new_neighbour(index, address, mac)))
    assert found == ra.Neighbour(index, address, mac, ra.NUD_PERMANENT)


def test_a_veths_far_end_is_made_in_the_other_namespace() -> None:
    peer = rt.VethPeer("eth0", 7, "02:42:ac:11:00:02")
    request = rt.new_veth("veth1", peer, mtu=1400, master=5)
    link = rt.parse_link(echoed(request))
    assert (link.name, link.kind, link.master, link.is_up) == ("veth1", "veth", 5, True)
    values = parse_attributes(request.body[16:])
    data = parse_attributes(parse_attributes(values[18])[2])
    far = data[1]
    inner = parse_attributes(far[16:])
    # Down: the kernel refuses to bring up an end that does not know the other yet.
    assert far[:16] == bytes(16)
    assert inner[3] == b"eth0\0"
    assert inner[1] == bytes.fromhex("0242ac110002")
    assert inner[28] == struct.pack("=I", 7)


def test_only_what_is_given_changes() -> None:
    request = rt.set_link(3, up=True)
    assert struct.unpack("=BxHiII", request.body) == (0, 0, 3, rt.IFF_UP, rt.IFF_UP)
    request = rt.set_link(3, up=False)
    assert struct.unpack("=BxHiII", request.body) == (0, 0, 3, 0, rt.IFF_UP)
    values = parse_attributes(rt.set_link("veth1", master=0, mtu=1300).body[16:])
    assert values == {3: b"veth1\0", 4: struct.pack("=I", 1300), 10: bytes(4)}


@pytest.mark.parametrize(
    ("request_", "family"),
    [
        (ra.dump_routes(socket.AF_INET6), socket.AF_INET6),
        (ra.dump_addresses(socket.AF_INET), socket.AF_INET),
        (ra.dump_neighbours(socket.AF_INET), socket.AF_INET),
        (rt.dump_links(), socket.AF_UNSPEC),
    ],
)
def test_dumps_name_their_family(request_: Request, family: int) -> None:
    assert request_.body[0] == family
