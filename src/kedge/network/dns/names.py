"""Which container has which name, as seen by another container. Thread-safe.

A name belongs to a network: a container resolves what shares a network with it, by the bare name
or by ``name.network``. A name several containers have (a scaled service, an alias) gives all their
addresses, in an order that moves on with each question. Besides, a container may have names for
others that only itself knows (``--link``).
"""

import ipaddress
import itertools
import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from kedge.network.ipam import IPAddress

_REVERSE4: Final = ".in-addr.arpa"
_REVERSE6: Final = ".ip6.arpa"
_NAME_MAX: Final = 253
_LABEL_MAX: Final = 63


class Member(NamedTuple):
    """One container in one network, and what it is called there."""

    container_id: str
    network_id: str
    network_name: str
    names: tuple[str, ...]
    """The best one first; lower case."""
    addresses: tuple[IPAddress, ...]
    ports: tuple[tuple[str, int], ...] = ()
    """``(protocol, number)`` of what it exposes or publishes."""
    is_internal: bool = False


class NameTable:
    """All names of one engine."""

    def __init__(self) -> None:
        """Begin without a name."""
        self._lock = threading.Lock()
        self._members: dict[str, dict[str, Member]] = {}
        self._by_name: dict[tuple[str, str], tuple[Member, ...]] = {}
        self._by_address: dict[tuple[str, IPAddress], Member] = {}
        self._links: dict[str, Mapping[str, str]] = {}
        self._turn = itertools.count()

    def add(self, member: Member) -> None:
        """Make a container known in a network, in place of what was known of it there."""
        with self._lock:
            self._drop(member.container_id, member.network_id)
            self._members.setdefault(member.container_id, {})[member.network_id] = member
            for name in member.names:
                key = (member.network_id, name)
                self._by_name[key] = (*self._by_name.get(key, ()), member)
            for address in member.addresses:
                self._by_address[member.network_id, address] = member

    def remove(self, container_id: str, network_id: str = "") -> None:
        """Forget a container, in one network or in all; one that is not known is fine."""
        with self._lock:
            if network_id:
                self._drop(container_id, network_id)
                return
            for known in list(self._members.get(container_id, {})):
                self._drop(container_id, known)
            self._links.pop(container_id, None)

    def set_links(self, container_id: str, links: Mapping[str, str]) -> None:
        """Give a container its own names for others: ``{alias: container id}``."""
        with self._lock:
            self._links[container_id] = dict(links)

    def is_internal(self, asker: str) -> bool:
        """Tell whether a container has no network that leads outside."""
        with self._lock:
            members = self._members.get(asker, {}).values()
            return bool(members) and all(member.is_internal for member in members)

    def find(self, asker: str, name: str) -> list[Member]:
        """Return who has ``name`` in the networks of ``asker``, another first each time."""
        with self._lock:
            found = self._find(asker, name)
        if len(found) < 2:
            return list(found)
        start = next(self._turn) % len(found)
        return [*found[start:], *found[:start]]

    def find_address(self, asker: str, name: str) -> str:
        """Return the name that belongs to a reverse question, empty when there is none."""
        address = parse_reverse_name(name)
        if address is None:
            return ""
        with self._lock:
            for network_id in self._members.get(asker, {}):
                member = self._by_address.get((network_id, address))
                if member is not None and member.names:
                    return f"{member.names[0]}.{member.network_name}"
        return ""

    def _find(self, asker: str, name: str) -> tuple[Member, ...]:
        networks = self._members.get(asker, {})
        linked = self._links.get(asker, {}).get(name)
        if linked is not None:
            shared = [m for key, m in self._members.get(linked, {}).items() if key in networks]
            return tuple(shared[:1])
        for network_id, own in networks.items():
            found = self._by_name.get((network_id, name))
            if found:
                return found
            suffix = f".{own.network_name}".lower()
            if name.endswith(suffix):
                found = self._by_name.get((network_id, name.removesuffix(suffix)))
                if found:
                    return found
        return ()

    def _drop(self, container_id: str, network_id: str) -> None:
        known = self._members.get(container_id, {})
        member = known.pop(network_id, None)
        if not known:
            self._members.pop(container_id, None)
        if member is None:
            return
        for name in member.names:
            key = (network_id, name)
            rest = tuple(m for m in self._by_name.get(key, ()) if m.container_id != container_id)
            if rest:
                self._by_name[key] = rest
            else:
                self._by_name.pop(key, None)
        for address in member.addresses:
            if self._by_address.get((network_id, address)) == member:
                del self._by_address[network_id, address]


def make_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as they are compared: in lower case, each once, without the impossible ones."""
    lower = (name.lower().rstrip(".") for name in names)
    return tuple(dict.fromkeys(name for name in lower if _is_possible(name)))


def _is_possible(name: str) -> bool:
    return (
        name.isascii()
        and len(name) <= _NAME_MAX
        and all(0 < len(label) <= _LABEL_MAX for label in name.split("."))
    )


def parse_reverse_name(name: str) -> IPAddress | None:
    """Return the address of ``2.0.17.172.in-addr.arpa`` or its IPv6 form; None for other names."""
    try:
        if name.endswith(_REVERSE4):
            parts = name.removesuffix(_REVERSE4).split(".")
            return ipaddress.IPv4Address(".".join(reversed(parts)))
        if name.endswith(_REVERSE6):
            digits = "".join(reversed(name.removesuffix(_REVERSE6).split(".")))
            return ipaddress.IPv6Address(bytes.fromhex(digits))
    except ValueError:
        return None
    return None
