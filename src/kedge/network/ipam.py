"""Address management: which subnet a network gets, which address an endpoint gets.

Pure: no kernel, no database. The caller says what is taken (host routes, other networks) and
keeps the record; `AddressPool` guarantees that an address is never out twice. Addresses are handed
out lowest first, as Docker does, so the first container of a fresh bridge has ``.2``.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.errdefs import ConflictError, ForbiddenError, InvalidParameterError

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_ROUTES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetPool:
    """A range that is cut into subnets of one size."""

    base: IPNetwork
    size: int
    """Prefix length of the subnets."""


def parse_pool(base: str, size: int) -> SubnetPool:
    """Return a pool; ``parse_pool("192.168.0.0/16", 20)`` holds sixteen subnets.

    Raises:
        InvalidParameterError: Not a network, or the subnets would be larger than it.
    """
    network = parse_network(base)
    if not network.prefixlen <= size <= network.max_prefixlen - 2:
        raise InvalidParameterError(f"invalid size {size} for address pool {base}")
    return SubnetPool(base=network, size=size)


def parse_network(text: str) -> IPNetwork:
    """Return a subnet; host bits must be zero.

    Raises:
        InvalidParameterError: Not a subnet in CIDR form.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidParameterError(f"invalid subnet {text}: {_subnet_meant(text)}") from None


def _subnet_meant(text: str) -> str:
    try:
        return f"it should be {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        return "expected e.g. 10.1.2.0/24"


def parse_address(text: str) -> IPAddress:
    """Return an IP address.

    Raises:
        InvalidParameterError: Not an address.
    """
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameterError(f"invalid IP address: {text}") from None


# Docker's own order for the default bridge, continued for hosts with many engines.
DEFAULT_BRIDGE_POOLS: Final = (
    parse_pool("172.17.0.0/16", 16),
    parse_pool("172.18.0.0/15", 16),
    parse_pool("172.20.0.0/14", 16),
    parse_pool("172.24.0.0/13", 16),
    parse_pool("192.168.0.0/16", 20),
    parse_pool("10.0.0.0/8", 16),
)

# compat: Docker cuts /16 and runs out at the thirty-first network; these last for thousands.
DEFAULT_NETWORK_POOLS: Final = (
    parse_pool("172.18.0.0/15", 24),
    parse_pool("172.20.0.0/14", 24),
    parse_pool("172.24.0.0/13", 24),
    parse_pool("192.168.0.0/16", 24),
    parse_pool("10.0.0.0/8", 24),
)


def find_overlap(subnet: IPNetwork, taken: Iterable[IPNetwork]) -> IPNetwork | None:
    """Return the first network in ``taken`` that shares an address with ``subnet``."""
    return next((other for other in taken if _overlaps(subnet, other)), None)


def choose_subnet(pools: Sequence[SubnetPool], taken: Sequence[IPNetwork]) -> IPNetwork:
    """Return the first subnet of the pools that overlaps nothing that is taken.

    Raises:
        ForbiddenError: Every subnet overlaps something; the message names what.
    """
    in_the_way: dict[IPNetwork, None] = {}
    for pool in pools:
        # As numbers: comparing network objects would take seconds with hundreds of networks.
        ranges = [
            (int(network[0]), int(network[-1]), network)
            for network in taken
            if network.version == pool.base.version
        ]
        step = 1 << (pool.base.max_prefixlen - pool.size)
        base, end = int(pool.base[0]), int(pool.base[-1])
        first = base
        while first <= end:
            other = next((r for r in ranges if r[0] < first + step and r[1] >= first), None)
            if other is None:
                return ipaddress.ip_network((pool.base.network_address + (first - base), pool.size))
            in_the_way[other[2]] = None
            # What one large network covers is skipped at once, up to the next whole subnet.
            first = max(first + step, other[1] + 1)
            first += -(first - base) % step
    names = ", ".join(str(network) for network in list(in_the_way)[:_ROUTES_SHOWN])
    more = len(in_the_way) - _ROUTES_SHOWN
    raise ForbiddenError(
        "all predefined address pools have been fully subnetted; in the way: "
        + names
        + (f" and {more} more" if more > 0 else "")
        + "; give a subnet of your own with --subnet"
    )


class AddressPool:
    """The addresses of one subnet; every method keeps "never out twice" true.

    Network and broadcast address are never handed out.
    """

    def __init__(
        self,
        subnet: IPNetwork,
        *,
        name: str = "",
        ip_range: IPNetwork | None = None,
        used: Iterable[IPAddress] = (),
    ) -> None:
        """Start with ``used`` taken, for example the gateway.

        Args:
            subnet: The network's subnet.
            name: The network's name, for messages.
            ip_range: Part of the subnet to choose from; addresses asked for by name may lie
                outside it.
            used: Addresses that are out already.
        """
        self.subnet = subnet
        self._name = name or str(subnet)
        choose_from = ip_range or subnet
        self._first = max(int(choose_from[0]), int(subnet[0]) + 1)
        last = int(subnet[-1])
        # IPv6 has no broadcast address; the all-zeros address is the routers' (RFC 4291).
        self._usable_last = last - 1 if subnet.version == 4 else last
        self._last = min(int(choose_from[-1]), self._usable_last)
        self._used = {int(address) for address in used}
        self._lowest = self._first

    def __contains__(self, address: IPAddress) -> bool:
        """Tell whether the address is out."""
        return int(address) in self._used

    def allocate(self, requested: IPAddress | None = None) -> IPAddress:
        """Hand out an address: the one asked for, else the lowest free one.

        Raises:
            InvalidParameterError: The address asked for is not one of this subnet's.
            ConflictError: It is out already, or the subnet is exhausted.
        """
        number = self._next_free() if requested is None else self._check(requested)
        self._used.add(number)
        return self.subnet[number - int(self.subnet[0])]

    def release(self, address: IPAddress) -> None:
        """Take an address back; one that is not out is no error."""
        number = int(address)
        self._used.discard(number)
        if self._first <= number < self._lowest:
            self._lowest = number

    def _next_free(self) -> int:
        number = self._lowest
        while number in self._used:
            number += 1
        if number > self._last:
            family = f"IPv{self.subnet.version}"
            raise ConflictError(
                f"no available {family} addresses on this network's address pools: {self._name}"
            )
        self._lowest = number
        return number

    def _check(self, requested: IPAddress) -> int:
        number = int(requested)
        if requested.version != self.subnet.version or requested not in self.subnet:
            raise InvalidParameterError(
                f"no configured subnet contains IP address {requested}; "
                f"network {self._name} has {self.subnet}"
            )
        if not int(self.subnet[0]) < number <= self._usable_last:
            raise InvalidParameterError(
                f"IP address {requested} is the network or broadcast address of {self.subnet}"
            )
        if number in self._used:
            raise ConflictError(f"address already in use: {requested} on network {self._name}")
        return number


def _overlaps(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)
