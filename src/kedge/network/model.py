"""The nouns of this package: networks, endpoints, published ports, options.

Words follow Docker's network model: a *network* is what containers join, an *endpoint* is one
container's place in one network, a *sandbox* is the container's network namespace.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from kedge.network.ipam import (
    DEFAULT_BRIDGE_POOLS,
    DEFAULT_NETWORK_POOLS,
    IPAddress,
    IPNetwork,
    SubnetPool,
)

IPInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Driver(StrEnum):
    """How a network is made; the values are Docker's driver names."""

    BRIDGE = "bridge"
    MACVLAN = "macvlan"
    IPVLAN = "ipvlan"
    HOST = "host"
    NULL = "null"


class GatewayMode(StrEnum):
    """How a bridge network meets the outside, for one IP version; the values are Docker's."""

    NAT = "nat"
    """By the host's address; from outside only published ports, by the host's ports."""
    NAT_UNPROTECTED = "nat-unprotected"
    """The same, and every port by the container's own address."""
    ROUTED = "routed"
    """By the container's own address, both ways; from outside only published ports."""
    ISOLATED = "isolated"
    """Not at all, nor the host: the bridge has no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet of a network."""

    network: IPNetwork
    gateway: IPAddress
    ip_range: IPNetwork | None = None
    reserved: Mapping[str, IPAddress] = field(default_factory=dict[str, IPAddress])
    """Addresses never given to a container, by what they are for (``--aux-address``)."""
    is_automatic: bool = False
    """Chosen by the engine, which may choose again while nobody uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network's record."""

    id: str
    name: str
    driver: Driver
    created_ns: int
    subnets: tuple[Subnet, ...] = ()
    bridge: str = ""
    """Name of the bridge's link on the host."""
    parent: str = ""
    """Name of the host's link that those of a macvlan or ipvlan network lie on."""
    owns_link: bool = True
    """Whether the bridge or parent is the engine's own, to be removed with the network."""
    is_internal: bool = False
    is_attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    ipam_options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Kept to be shown; the only IPAM driver has none (``--ipam-opt``)."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def has_chosen_subnets(self) -> bool:
        """Whether its subnets were named by the user, so that containers may ask for addresses."""
        return bool(self.subnets) and not any(subnet.is_automatic for subnet in self.subnets)

    @property
    def has_own_links(self) -> bool:
        """Whether a container in it gets a link: neither the host's network nor none."""
        return self.driver not in {Driver.HOST, Driver.NULL}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What a new user-defined network shall be."""

    name: str
    driver: Driver = Driver.BRIDGE
    subnets: tuple[Subnet, ...] = ()
    """Empty: the engine chooses."""
    is_internal: bool = False
    is_attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    ipam_options: Mapping[str, str] = field(default_factory=dict[str, str])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointExtras:
    """What few endpoints have beside their addresses."""

    ifname: str = ""
    """The interface's name in the container; empty for the next free one."""
    link_local: tuple[IPInterface, ...] = ()
    """More addresses, of the link alone."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Switches below ``/proc/sys/net`` with their values, where ``IFNAME`` is the interface."""
    is_on_link: bool = False
    """The default route needs no gateway: what is on the other side finds everything (L3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """What may be asked of an endpoint."""

    ipv4: ipaddress.IPv4Address | None = None
    ipv6: ipaddress.IPv6Address | None = None
    mac: str = ""
    extras: EndpointExtras = EndpointExtras()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One container in one network; without addresses on ``host`` and ``none``."""

    id: str
    container_id: str
    network_id: str
    network_name: str
    driver: Driver
    link: str = ""
    """Name of the veth's end on the host."""
    mac: str = ""
    ipv4: ipaddress.IPv4Interface | None = None
    ipv6: ipaddress.IPv6Interface | None = None
    gateway4: ipaddress.IPv4Address | None = None
    gateway6: ipaddress.IPv6Address | None = None
    extras: EndpointExtras = EndpointExtras()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """A wish: publish a container's port on the host."""

    protocol: str
    container_port: int
    host_ip: str = ""
    """Empty for every address, IPv4 and IPv6."""
    host_port: int = 0
    """0 for any free port."""
    host_port_last: int = 0
    """Last of a range of which the first free port is taken; 0 for no range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A port that is published."""

    protocol: str
    container_port: int
    host_ip: str
    host_port: int
    """0 in a routed network: reached at the container's address, at the container's port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How the engine wants its networks; names follow dockerd's flags where they exist."""

    bip: str = ""
    """Address and prefix of the default bridge, such as ``10.9.0.1/24``; empty to choose."""
    bridge: str = ""
    """Name of the default bridge; empty for one derived from the data root."""
    # compat: off in Docker. On here, because only then a client of a port published on ``::`` keeps
    # its address; the prefix is private (fd00::/8) and masqueraded, so nothing new is exposed.
    ipv6: bool = True
    """Give the default bridge an IPv6 subnet where the kernel has IPv6."""
    mtu: int = 0
    """MTU of the bridges; 0 for that of the default route's interface."""
    icc: bool = True
    """Containers of the default bridge may talk to each other."""
    ip_forward: bool = True
    """Switch the host's forwarding on when a bridge network is first used."""
    packet_filter: bool = True
    """Use nf_tables (dockerd's ``--iptables``); without it only the userland proxy publishes."""
    default_host_ip: str = ""
    """Where ports are published that name no address (dockerd's ``--ip``)."""
    bridge_pools: tuple[SubnetPool, ...] = DEFAULT_BRIDGE_POOLS
    network_pools: tuple[SubnetPool, ...] = DEFAULT_NETWORK_POOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restart of the engine found and did."""

    removed_endpoints: tuple[str, ...] = ()
    """Containers that were not active any more."""
    removed_links: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """One line each, such as a published port another process has taken meanwhile."""
