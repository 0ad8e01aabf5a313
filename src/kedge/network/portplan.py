"""What a published port comes to: which rule, which address of the container, or none. Pure."""

import ipaddress
import socket
from collections.abc import Iterator

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.network import firewall
from kedge.network.ipam import IPAddress, parse_address
from kedge.network.model import Driver, Endpoint, GatewayMode, PortBinding, PublishedPort
from kedge.network.options import LinkOptions
from kedge.network.spoofing import LinkRule, own_link_local


def port_rule(
    endpoint: Endpoint, port: PublishedPort, options: LinkOptions
) -> firewall.AnyPort | None:
    """Return the packet filter's rule; None where it cannot do it, and the proxy has to."""
    address = ipaddress.ip_address(port.host_ip)
    target = target_address(endpoint, address.version)
    if target.version != address.version:
        return None
    if not port.host_port:
        return firewall.OpenPort(
            protocol=port.protocol, target=target, target_port=port.container_port
        )
    return firewall.PortRule(
        protocol=port.protocol,
        host_address=address,
        host_port=port.host_port,
        target=target,
        target_port=port.container_port,
        is_direct=bool(options.trusted),
    )


def target_address(endpoint: Endpoint, version: int) -> IPAddress:
    """Return the container's address of this family, or the one it has."""
    wanted, other = (
        (endpoint.ipv4, endpoint.ipv6) if version == 4 else (endpoint.ipv6, endpoint.ipv4)
    )
    chosen = wanted or other
    if chosen is None:
        raise SystemFailureError(f"endpoint {endpoint.id[:12]} has no address to publish")
    return chosen.ip


def translated_versions(endpoint: Endpoint, options: LinkOptions) -> frozenset[int]:
    """Return the IP versions whose ports of the host lead to the container."""
    plain = {GatewayMode.NAT, GatewayMode.NAT_UNPROTECTED}
    return frozenset(
        version
        for version in (4, 6)
        if options.gateway_mode(target_address(endpoint, version).version) in plain
    )


def routed_addresses(endpoint: Endpoint, options: LinkOptions) -> Iterator[IPAddress]:
    """Yield the container's addresses that the outside knows a way to."""
    for interface in (endpoint.ipv4, endpoint.ipv6):
        if interface is not None and options.gateway_mode(interface.version) is GatewayMode.ROUTED:
            yield interface.ip


def check_routed(binding: PortBinding, version: int, network: str) -> None:
    """Refuse an address of the host: the port would be open to more than was asked for."""
    address = parse_address(binding.host_ip) if binding.host_ip else None
    if address is not None and address.version == version and not address.is_unspecified:
        raise InvalidParameterError(
            f"port {binding.container_port}/{binding.protocol} cannot be published on {address}: "
            f"network {network} is routed, its containers are reached by their own addresses; "
            "leave the host's address out"
        )


def address_family(version: int) -> int:
    """Return the socket address family of an IP version."""
    return socket.AF_INET if version == 4 else socket.AF_INET6


def wanted_version(binding: PortBinding) -> int:
    """Return the IP version of the host's address that is wanted; 0 for any."""
    return parse_address(binding.host_ip).version if binding.host_ip else 0


def is_bridged(endpoint: Endpoint) -> bool:
    """Tell whether the endpoint's link is a port of a bridge of the host's."""
    return endpoint.driver is Driver.BRIDGE


def link_rule(endpoint: Endpoint) -> LinkRule:
    """Return which addresses are an endpoint's own."""
    interfaces = (endpoint.ipv4, endpoint.ipv6, *endpoint.extras.link_local)
    own: list[IPAddress] = [item.ip for item in interfaces if item is not None]
    return LinkRule(
        link=endpoint.link, mac=endpoint.mac, addresses=(*own, own_link_local(endpoint.mac))
    )
