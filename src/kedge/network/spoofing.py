"""Nobody behind a bridge uses another's address: a bridge table of nf_tables.

Each frame that enters a bridge by a container's link is looked at before the bridge forwards it or
takes it in. Its Ethernet, IPv4 and IPv6 source, the sender an ARP packet names and the target a
neighbour advertisement speaks for are refused when they are another container's or the gateway's.

A frame with its link's own addresses, which nearly every one is, passes by a single lookup.

What belongs to nobody passes: a container may have a floating address or a bridge of its own, as
with Docker. Frames of links that are not the engine's are not looked at. The kernel itself sees to
fragmented neighbour discovery (RFC 6980), and takes the first VLAN tag off before we look; a second
one is refused, because a receiver takes that off as well.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.linux import nftables as nft
from kedge.linux import nftables_expressions as ex
from kedge.linux.netlink import Request
from kedge.network.ipam import IPAddress

_LINKS: Final = nft.SetSpec("links", (nft.IFNAME,))
_MACS: Final = nft.SetSpec("macs", (nft.ETHER_ADDR,))
_ADDRESSES4: Final = nft.SetSpec("addresses4", (nft.IPV4_ADDR,))
_ADDRESSES6: Final = nft.SetSpec("addresses6", (nft.IPV6_ADDR,))
_LINK_MACS: Final = nft.SetSpec("link_macs", (nft.IFNAME, nft.ETHER_ADDR))
_LINK_ADDRESSES4: Final = nft.SetSpec("link_addresses4", (nft.IFNAME, nft.IPV4_ADDR))
_LINK_ADDRESSES6: Final = nft.SetSpec("link_addresses6", (nft.IFNAME, nft.IPV6_ADDR))
_OWN4: Final = nft.SetSpec("own4", (nft.IFNAME, nft.ETHER_ADDR, nft.IPV4_ADDR))
_OWN6: Final = nft.SetSpec("own6", (nft.IFNAME, nft.ETHER_ADDR, nft.IPV6_ADDR))
_SETS: Final = (
    *(_LINKS, _MACS, _ADDRESSES4, _ADDRESSES6),
    *(_LINK_MACS, _LINK_ADDRESSES4, _LINK_ADDRESSES6, _OWN4, _OWN6),
)
_CHAIN: Final = "prerouting"

_ETHERTYPE_IP4: Final = 0x0800
_ETHERTYPE_ARP: Final = 0x0806
_ETHERTYPE_VLAN: Final = 0x8100
_ETHERTYPE_QINQ: Final = 0x88A8
_ETHERTYPE_IP6: Final = 0x86DD
_ICMPV6: Final = 58
_ROUTER_ADVERTISEMENT: Final = 134
_NEIGHBOUR_ADVERTISEMENT: Final = 136
_REDIRECT: Final = 137
_ACCEPT: Final = ex.verdict(nft.NF_ACCEPT)
_DROP: Final = ex.verdict(nft.NF_DROP)

_Key: TypeAlias = tuple[nft.SetSpec, bytes]
_Verb: TypeAlias = Callable[[nft.Table, nft.SetSpec, Sequence[nft.Element]], list[Request]]
_Load: TypeAlias = Callable[[int], bytes]
"""Loads a field of the packet into a register."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRule:
    """A container's link and the addresses that are its own."""

    link: str
    mac: str
    addresses: tuple[IPAddress, ...]


def own_link_local(mac: str) -> ipaddress.IPv6Address:
    """Return the link-local address the kernel makes of a MAC address (RFC 4291, EUI-64)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


class LinkGuard:
    """The links and addresses an engine's bridge table holds; every answer is a plan.

    An address may have several owners (two networks may know the same MAC address); it is free
    again when the last one is gone. Not thread-safe.
    """

    def __init__(self, table: str) -> None:
        """Know no link yet."""
        self._table = nft.Table(table, nft.NFPROTO_BRIDGE)
        self._links: dict[str, list[_Key]] = {}
        self._owners: Counter[_Key] = Counter()

    def add(self, rules: Sequence[LinkRule]) -> list[Request]:
        """Return what takes links in; one that is known is left as it is."""
        fresh: list[_Key] = []
        for rule in rules:
            if rule.link in self._links:
                continue
            self._links[rule.link] = keys = [*dict.fromkeys(_link_keys(rule))]
            fresh += self._count(keys)
        return self._requests(nft.add_elements, fresh)

    def remove(self, links: Iterable[str]) -> list[Request]:
        """Return what drops links; one that is not known is fine."""
        gone: list[_Key] = []
        for link in links:
            gone += self._discount(self._links.pop(link, []))
        return self._requests(nft.delete_elements, gone)

    def reserve(self, addresses: Iterable[IPAddress]) -> list[Request]:
        """Return what keeps a bridge's own addresses from every container."""
        return self._requests(nft.add_elements, self._count(map(_address_key, addresses)))

    def release(self, addresses: Iterable[IPAddress]) -> list[Request]:
        """Return what takes `reserve` back."""
        return self._requests(nft.delete_elements, self._discount(map(_address_key, addresses)))

    def whole_table(self, *, first_set_id: int) -> list[Request]:
        """Return what makes the table from nothing, whatever was in it before.

        Args:
            first_set_id: A number that no set of the transaction has; the next ones are free, too.
        """
        table = self._table
        requests = [nft.new_table(table), nft.delete_table(table), nft.new_table(table)]
        requests += [
            nft.new_set(table, spec, set_id=n) for n, spec in enumerate(_SETS, start=first_set_id)
        ]
        hook = nft.Hook("filter", nft.NF_BR_PRE_ROUTING, nft.PRIORITY_BRIDGE_DNAT)
        requests.append(nft.new_chain(table, _CHAIN, hook))
        requests += [nft.add_rule(table, _CHAIN, rule) for rule in _RULES]
        return requests + self._requests(nft.add_elements, list(self._owners))

    def _count(self, keys: Iterable[_Key]) -> list[_Key]:
        """Give each key one more owner; return those that had none."""
        fresh: list[_Key] = []
        for key in keys:
            if not self._owners[key]:
                fresh.append(key)
            self._owners[key] += 1
        return fresh

    def _discount(self, keys: Iterable[_Key]) -> list[_Key]:
        """Give each key one owner less; return those that have none any more."""
        gone: list[_Key] = []
        for key in keys:
            self._owners[key] -= 1
            if self._owners[key] <= 0:
                del self._owners[key]
                gone.append(key)
        return gone

    def _requests(self, verb: _Verb, keys: Sequence[_Key]) -> list[Request]:
        by_set: dict[nft.SetSpec, list[nft.Element]] = {}
        for spec, key in keys:
            by_set.setdefault(spec, []).append(nft.Element(key))
        return [
            request
            for spec, elements in by_set.items()
            for request in verb(self._table, spec, elements)
        ]


def remove_table(table: str) -> list[Request]:
    """Return what removes the bridge table, also when it is not there."""
    own = nft.Table(table, nft.NFPROTO_BRIDGE)
    return [nft.new_table(own), nft.delete_table(own)]


def _address_key(address: IPAddress) -> _Key:
    return (_ADDRESSES4 if address.version == 4 else _ADDRESSES6), address.packed


def _link_keys(rule: LinkRule) -> Iterator[_Key]:
    name = nft.ifname_bytes(rule.link)
    mac = bytes.fromhex(rule.mac.replace(":", ""))
    yield _LINKS, name
    yield _MACS, mac
    yield _LINK_MACS, nft.concatenate(name, mac)
    for address in rule.addresses:
        yield _address_key(address)
        links, own = (
            (_LINK_ADDRESSES4, _OWN4) if address.version == 4 else (_LINK_ADDRESSES6, _OWN6)
        )
        yield links, nft.concatenate(name, address.packed)
        yield own, nft.concatenate(name, mac, address.packed)


def _is_protocol(ethertype: int) -> bytes:
    return ex.meta(ex.META_PROTOCOL) + ex.compare(ethertype.to_bytes(2, "big"))


def _stolen(load: _Load, owned: nft.SetSpec, own: nft.SetSpec) -> bytes:
    """Drop the frame when a field of it is somebody's and not this link's."""
    return (
        load(ex.REG_1)
        + ex.lookup(owned.name)
        + ex.meta(ex.META_IIFNAME)
        + load(ex.REG_2)
        + ex.lookup(own.name, inverted=True)
        + _DROP
    )


def _own(source: _Load, own: nft.SetSpec) -> bytes:
    """Accept what comes by a link with the Ethernet and IP source that are its own."""
    return (
        ex.meta(ex.META_IIFNAME)
        + ex.payload(ex.PAYLOAD_LINK, 6, 6, ex.REG_2)
        + source(ex.REG32_06)
        + ex.lookup(own.name)
        + _ACCEPT
    )


def _field(header: int, offset: int, length: int) -> _Load:
    return lambda register: ex.payload(header, offset, length, register)


def _is_message(kind: int) -> bytes:
    """Go on only for an ICMPv6 message of this type."""
    return (
        _is_protocol(_ETHERTYPE_IP6)
        + ex.meta(ex.META_L4PROTO)
        + ex.compare(bytes([_ICMPV6]))
        + ex.payload(ex.PAYLOAD_TRANSPORT, 0, 1)
        + ex.compare(bytes([kind]))
    )


def _rules() -> list[bytes]:
    ether, arp_ether = _field(ex.PAYLOAD_LINK, 6, 6), _field(ex.PAYLOAD_NETWORK, 8, 6)
    arp_sender = _field(ex.PAYLOAD_NETWORK, 14, 4)
    source4, source6 = _field(ex.PAYLOAD_NETWORK, 12, 4), _field(ex.PAYLOAD_NETWORK, 8, 16)
    advertised = _field(ex.PAYLOAD_TRANSPORT, 8, 16)
    arp = _is_protocol(_ETHERTYPE_ARP)
    not_icmpv6 = ex.meta(ex.META_L4PROTO) + ex.compare(bytes([_ICMPV6]), equal=False)
    return [
        _is_protocol(_ETHERTYPE_IP4) + _own(source4, _OWN4),
        _is_protocol(_ETHERTYPE_IP6) + not_icmpv6 + _own(source6, _OWN6),
        ex.interface_in(ex.META_IIFNAME, _LINKS.name, inverted=True) + _ACCEPT,
        _stolen(ether, _MACS, _LINK_MACS),
        _is_protocol(_ETHERTYPE_IP4) + _stolen(source4, _ADDRESSES4, _LINK_ADDRESSES4),
        arp + _stolen(arp_ether, _MACS, _LINK_MACS),
        arp + _stolen(arp_sender, _ADDRESSES4, _LINK_ADDRESSES4),
        _is_protocol(_ETHERTYPE_IP6) + _stolen(source6, _ADDRESSES6, _LINK_ADDRESSES6),
        _is_message(_NEIGHBOUR_ADVERTISEMENT) + _stolen(advertised, _ADDRESSES6, _LINK_ADDRESSES6),
        # A container is nobody's router: its neighbours would take a default route from it.
        _is_message(_ROUTER_ADVERTISEMENT) + _DROP,
        _is_message(_REDIRECT) + _DROP,
        _is_protocol(_ETHERTYPE_VLAN) + _DROP,
        _is_protocol(_ETHERTYPE_QINQ) + _DROP,
    ]


_RULES: Final = _rules()
