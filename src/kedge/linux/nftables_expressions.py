"""The expressions nf_tables rules are made of, as netlink attributes.

A rule runs its expressions in order: loads fill a register, comparisons and lookups end the rule
when they do not match, a verdict or a translation ends it for good. Names follow ``nft(8)``;
what ``nft --debug=netlink`` prints for a rule is the list of calls here.
"""

import struct
from collections.abc import Sequence
from typing import Final

from kedge.linux.netlink import (
    attribute,
    attribute_be32,
    attribute_string,
    attribute_text,
    nested,
    parse_attributes,
)
from kedge.linux.nftables import NFPROTO_IPV4, ifname_bytes

# Register 1 covers the 32-bit registers 8 to 11, register 2 covers 12 to 15.
REG_1: Final = 1
REG_2: Final = 2
REG32_01: Final = 9
REG32_02: Final = 10
REG32_05: Final = 13
REG32_06: Final = 14
_REG_VERDICT: Final = 0

META_PROTOCOL: Final = 1
META_IIFNAME: Final = 6
META_OIFNAME: Final = 7
META_NFPROTO: Final = 15
META_L4PROTO: Final = 16

CT_STATE: Final = 0
CT_STATUS: Final = 2
CT_STATE_ESTABLISHED_RELATED: Final = 0x6
CT_STATUS_DNAT: Final = 0x20

PAYLOAD_LINK: Final = 0
PAYLOAD_NETWORK: Final = 1
PAYLOAD_TRANSPORT: Final = 2

NFT_JUMP: Final = -3
NFT_GOTO: Final = -4
NFT_RETURN: Final = -5

RTN_LOCAL: Final = 2
_FIB_SADDR: Final = 0x1
_FIB_DADDR: Final = 0x2
_FIB_ADDRTYPE: Final = 3
_CMP_EQ: Final = 0
_CMP_NEQ: Final = 1
_LOOKUP_INVERTED: Final = 1
_NAT_SNAT: Final = 0
_NAT_DNAT: Final = 1
_LIST_ELEMENT: Final = 1
_EXPRESSION_NAME: Final = 1
_EXPRESSION_DATA: Final = 2
_DATA_VALUE: Final = 1
_DATA_VERDICT: Final = 2


def meta(key: int, register: int = REG_1) -> bytes:
    """Load a fact about the packet, such as the name of the interface it came in by."""
    return _expression("meta", attribute_be32(2, key), attribute_be32(1, register))


def payload(base: int, offset: int, length: int, register: int = REG_1) -> bytes:
    """Load bytes of the packet's network or transport header."""
    return _expression(
        "payload",
        attribute_be32(1, register),
        attribute_be32(2, base),
        attribute_be32(3, offset),
        attribute_be32(4, length),
    )


def compare(value: bytes, *, equal: bool = True, register: int = REG_1) -> bytes:
    """Go on only if the register holds ``value`` (or, not equal, anything else)."""
    return _expression(
        "cmp",
        attribute_be32(1, register),
        attribute_be32(2, _CMP_EQ if equal else _CMP_NEQ),
        nested(3, attribute(_DATA_VALUE, value)),
    )


def bitwise_and(mask: bytes, register: int = REG_1) -> bytes:
    """Keep only the register's bits that ``mask`` has."""
    return _expression(
        "bitwise",
        attribute_be32(1, register),
        attribute_be32(2, register),
        attribute_be32(3, len(mask)),
        nested(4, attribute(_DATA_VALUE, mask)),
        nested(5, attribute(_DATA_VALUE, bytes(len(mask)))),
    )


def in_range(first: bytes, last: bytes, register: int = REG_1) -> bytes:
    """Go on only if the register is between two values, both included."""
    return _expression(
        "range",
        attribute_be32(1, register),
        attribute_be32(2, _CMP_EQ),
        nested(3, attribute(_DATA_VALUE, first)),
        nested(4, attribute(_DATA_VALUE, last)),
    )


def lookup(name: str, *, inverted: bool = False, is_map: bool = False) -> bytes:
    """Go on only if register 1 is in the set; of a map, load the data into register 1."""
    parts = [attribute_be32(2, REG_1)]
    if is_map:
        parts.append(attribute_be32(3, REG_1))
    parts.append(attribute_string(1, name))
    if inverted:
        parts.append(attribute_be32(5, _LOOKUP_INVERTED))
    return _expression("lookup", *parts)


def conntrack(key: int) -> bytes:
    """Load the connection's state or status bits."""
    return _expression("ct", attribute_be32(2, key), attribute_be32(1, REG_1))


def counter() -> bytes:
    """Count packets and bytes."""
    return _expression("counter")


def verdict(code: int, chain: str = "") -> bytes:
    """End the rule: accept, drop, return, jump or go to another chain."""
    parts = [attribute_be32(1, code)]
    if chain:
        parts.append(attribute_string(2, chain))
    value = nested(_EXPRESSION_DATA, nested(_DATA_VERDICT, *parts))
    return _expression("immediate", attribute_be32(1, _REG_VERDICT), value)


def immediate(value: bytes, register: int = REG_1) -> bytes:
    """Load a constant."""
    data = nested(_EXPRESSION_DATA, attribute(_DATA_VALUE, value))
    return _expression("immediate", attribute_be32(1, register), data)


def destination_nat(family: int) -> bytes:
    """Send the connection to the address and port that register 1 holds, one behind the other."""
    # The port lies behind the address: after one register word, or after four.
    port = REG32_01 if family == NFPROTO_IPV4 else REG_2
    return _expression(
        "nat",
        attribute_be32(1, _NAT_DNAT),
        attribute_be32(2, family),
        attribute_be32(3, REG_1),
        attribute_be32(5, port),
    )


def source_nat(family: int) -> bytes:
    """Give the connection the address that register 1 holds as its source."""
    return _expression(
        "nat",
        attribute_be32(1, _NAT_SNAT),
        attribute_be32(2, family),
        attribute_be32(3, REG_1),
    )


def masquerade() -> bytes:
    """Give the connection the outgoing interface's address as its source."""
    return _expression("masq")


def interface_is(key: int, name: str, *, equal: bool = True) -> bytes:
    """Go on only if the packet's interface has this name."""
    return meta(key) + compare(ifname_bytes(name), equal=equal)


def interface_in(key: int, set_name: str, *, inverted: bool = False) -> bytes:
    """Go on only if the packet's interface is in a set of names."""
    return meta(key) + lookup(set_name, inverted=inverted)


def interface_pair_in(set_name: str, *, inverted: bool = False) -> bytes:
    """Go on only if (incoming, outgoing interface) is in a set of pairs."""
    # Each name fills one 16-byte register exactly.
    return meta(META_IIFNAME) + meta(META_OIFNAME, REG_2) + lookup(set_name, inverted=inverted)


def family_is(family: int) -> bytes:
    """Go on only for IPv4, or only for IPv6; in an inet table both pass through."""
    return meta(META_NFPROTO) + compare(bytes([family]))


def destination_is_local() -> bytes:
    """Go on only if the packet is for an address of this host."""
    return _is_local(_FIB_DADDR)


def source_is_local() -> bytes:
    """Go on only if the packet claims to be from an address of this host."""
    return _is_local(_FIB_SADDR)


def _is_local(which: int) -> bytes:
    kind = _expression(
        "fib",
        attribute_be32(3, which),
        attribute_be32(2, _FIB_ADDRTYPE),
        attribute_be32(1, REG_1),
    )
    return kind + compare(struct.pack("=I", RTN_LOCAL))


def conntrack_has(key: int, bits: int) -> bytes:
    """Go on only if the connection has one of these state or status bits."""
    mask = bitwise_and(struct.pack("=I", bits))
    return conntrack(key) + mask + compare(bytes(4), equal=False)


def refuses_everything(expressions: Sequence[tuple[str, bytes]]) -> bool:
    """Tell whether a rule drops or rejects whatever comes to it, written by nft or iptables-nft."""
    rest = [item for item in expressions if item[0] not in {"counter", "log", "limit"}]
    if len(rest) != 1:
        return False
    name, data = rest[0]
    values = parse_attributes(data)
    if name == "target":
        return attribute_text(values.get(1, b"")) == "REJECT"
    if name != "immediate":
        return name == "reject"
    verdict_data = parse_attributes(values.get(2, b"")).get(_DATA_VERDICT, b"")
    return parse_attributes(verdict_data).get(1) == bytes(4)


def _expression(name: str, *attributes: bytes) -> bytes:
    data = nested(_EXPRESSION_DATA, *attributes)
    return nested(_LIST_ELEMENT, attribute_string(_EXPRESSION_NAME, name), data)
