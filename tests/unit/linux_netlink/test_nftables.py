"""The bytes are those nft(8) 1.0.6 sends for the same rule (``nft --debug=mnl``)."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from kedge.linux import nftables as nft
from kedge.linux import nftables_expressions as ex
from kedge.linux.netlink import Message, parse_attributes

TABLE = nft.Table("x")
PORTS = nft.SetSpec(
    "port4_ip",
    (nft.IPV4_ADDR, nft.INET_PROTO, nft.INET_SERVICE),
    (nft.IPV4_ADDR, nft.INET_SERVICE),
)


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def test_a_base_chain() -> None:
    hook = nft.Hook("nat", nft.NF_INET_PRE_ROUTING, nft.PRIORITY_DSTNAT)
    request = nft.new_chain(TABLE, "pre", hook)
    assert request.type == 2563
    assert request.body.hex() == (
        "01000000"
        "0600010078000000"
        "0800030070726500"
        "080007006e617400"
        "14000480" + "0800010000000000" + "08000200ffffff9c" + "0800050000000001"
    )
    found = nft.try_parse_base_chain(Message(request.type, 0, 0, request.body))
    assert found == nft.BaseChain(nft.NFPROTO_INET, "x", "pre", 0, -100, nft.NF_ACCEPT)


def test_a_chain_without_a_hook_is_no_base_chain() -> None:
    request = nft.new_chain(TABLE, "publish")
    assert nft.try_parse_base_chain(Message(request.type, 0, 0, request.body)) is None


def test_a_map_has_the_type_numbers_of_nft() -> None:
    values = parse_attributes(nft.new_set(TABLE, PORTS, set_id=1).body[4:])
    assert values[3].hex() == "00000008"
    assert values[4].hex() == "0000730d"
    assert values[5].hex() == "0000000c"
    assert values[6].hex() == "000001cd"
    assert values[7].hex() == "00000008"


def test_an_element_is_padded_to_registers() -> None:
    key = nft.concatenate(address("192.0.2.2"), b"\x06", (80).to_bytes(2, "big"))
    data = nft.concatenate(address("172.17.0.2"), (8080).to_bytes(2, "big"))
    (request,) = nft.add_elements(TABLE, PORTS, [nft.Element(key, data)])
    assert request.type == 2572
    # As nft's, apart from the set's number, which only a set made in the same batch needs.
    assert request.body.hex() == (
        "01000000" + "0600010078000000" + "0d000200706f7274345f697000000000" + "2c000380"
        "28000180"
        "14000180" + "10000100" + "c0000202" + "06000000" + "00500000"
        "10000280" + "0c000100" + "ac110002" + "1f900000"
    )


def test_a_range_has_two_elements() -> None:
    spec = nft.SetSpec("subnets4", (nft.IPV4_ADDR,), is_interval=True)
    element = nft.Element(address("172.17.0.0"), end=address("172.18.0.0"))
    (request,) = nft.add_elements(TABLE, spec, [element])
    items = parse_attributes(request.body[4:])[3]
    assert items.hex() == (
        "10000180" + "0c000180" + "08000100" + "ac110000"
        "18000180" + "0800030000000001" + "0c000180" + "08000100" + "ac120000"
    )


def test_expressions() -> None:
    rule = (
        ex.family_is(nft.NFPROTO_IPV4)
        + ex.payload(ex.PAYLOAD_NETWORK, 16, 1)
        + ex.compare(b"\x7f")
        + ex.verdict(ex.NFT_RETURN)
    )
    assert rule.hex() == (
        "24000180" + "090001006d65746100000000"
        "14000280" + "080002000000000f" + "0800010000000001"
        "2c000180" + "08000100636d7000"
        "20000280" + "0800010000000001" + "0800020000000000" + "0c000380" + "0500010002000000"
        "34000180" + "0c0001007061796c6f616400"
        "24000280" + "0800010000000001" + "0800020000000001" + "0800030000000010"
        "0800040000000001"
        "2c000180" + "08000100636d7000"
        "20000280" + "0800010000000001" + "0800020000000000" + "0c000380" + "050001007f000000"
        "30000180" + "0e000100696d6d6564696174650000"
        "00" + "1c000280" + "0800010000000000" + "10000280" + "0c000280" + "08000100fffffffb"
    )


def test_a_lookup_and_a_translation() -> None:
    rule = ex.lookup("port4_ip", is_map=True) + ex.destination_nat(nft.NFPROTO_IPV4)
    # nft adds the set's number of the same batch (attribute 4); the name alone does as well.
    assert rule.hex() == (
        "34000180" + "0b0001006c6f6f6b75700000"
        "24000280" + "0800020000000001" + "0800030000000001" + "0d000100706f7274345f697000000000"
        "30000180" + "080001006e617400"
        "24000280" + "0800010000000001" + "0800020000000002" + "0800030000000001"
        "0800050000000009"
    )


@given(st.lists(st.tuples(st.binary(min_size=12, max_size=12), st.binary(min_size=8, max_size=8))))
def test_elements_come_back(pairs: list[tuple[bytes, bytes]]) -> None:
    elements = [nft.Element(key, data) for key, data in pairs]
    found = [
        element
        for request in nft.add_elements(TABLE, PORTS, elements)
        for element in nft.parse_elements(Message(request.type, 0, 0, request.body))
    ]
    assert found == elements


def test_many_elements_are_split_into_messages_that_fit() -> None:
    elements = [nft.Element(n.to_bytes(12, "big"), bytes(8)) for n in range(2000)]
    requests = nft.add_elements(TABLE, PORTS, elements)
    assert len(requests) > 1
    assert all(len(request.body) < 65536 for request in requests)
