"""A container's places in networks, between the API's words and the network's. Pure."""

import ipaddress
from collections.abc import Sequence

from kedge.api.types.config import EndpointSettings, PortBinding
from kedge.api.types.network import EndpointResource
from kedge.engine.containers import Container
from kedge.engine.ports import published_ports
from kedge.errdefs import InvalidParameterError
from kedge.network import model
from kedge.network.bridge import bridge_interfaces
from kedge.network.options import parse_extras


def endpoint_resource(container: Container, settings: EndpointSettings) -> EndpointResource:
    """Return how an inspected network shows a container."""
    return EndpointResource(
        name=container.name,
        endpoint_id=settings.endpoint_id,
        mac_address=settings.mac_address,
        ipv4_address=f"{settings.ip_address}/{settings.ip_prefix_len}"
        if settings.ip_address
        else "",
        ipv6_address=f"{settings.global_ipv6_address}/{settings.global_ipv6_prefix_len}"
        if settings.global_ipv6_address
        else "",
    )


def endpoint_wish(wish: EndpointSettings, mac: str) -> model.EndpointSettings:
    """Return what is asked of an endpoint, in the network package's words.

    Raises:
        InvalidParameterError: No address, or an option nobody knows.
    """
    ipam = wish.ipam_config
    try:
        ipv4 = ipaddress.IPv4Address(ipam.ipv4_address) if ipam and ipam.ipv4_address else None
        ipv6 = ipaddress.IPv6Address(ipam.ipv6_address) if ipam and ipam.ipv6_address else None
    except ValueError as error:
        raise InvalidParameterError(f"invalid endpoint settings: {error}") from None
    extras = parse_extras(wish.driver_opts or {}, ipam.link_local_ips if ipam else [])
    return model.EndpointSettings(ipv4=ipv4, ipv6=ipv6, mac=mac, extras=extras)


def endpoint_settings(endpoint: model.Endpoint, wish: EndpointSettings) -> EndpointSettings:
    """Return how an inspected container shows an endpoint, and what was asked of it."""
    settings = EndpointSettings(
        ipam_config=wish.ipam_config,
        aliases=wish.aliases,
        links=wish.links,
        driver_opts=wish.driver_opts,
        gw_priority=wish.gw_priority,
        mac_address=endpoint.mac,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.id,
    )
    if endpoint.ipv4 is not None:
        settings.ip_address = str(endpoint.ipv4.ip)
        settings.ip_prefix_len = endpoint.ipv4.network.prefixlen
        settings.gateway = str(endpoint.gateway4 or "")
    if endpoint.ipv6 is not None:
        settings.global_ipv6_address = str(endpoint.ipv6.ip)
        settings.global_ipv6_prefix_len = endpoint.ipv6.network.prefixlen
        settings.ipv6_gateway = str(endpoint.gateway6 or "")
    return settings


def addresses_of(endpoint: model.Endpoint) -> list[str]:
    """Return an endpoint's addresses, IPv4 first."""
    return [str(item.ip) for item in (endpoint.ipv4, endpoint.ipv6) if item is not None]


def wanted_ports(container: Container) -> list[model.PortBinding]:
    """Return what a container publishes.

    Raises:
        InvalidParameterError: A malformed port.
    """
    record = container.record
    return [
        model.PortBinding(
            protocol=port.protocol,
            container_port=port.number,
            host_ip=binding.host_ip,
            host_port=_range(binding.host_port)[0],
            host_port_last=_range(binding.host_port)[1],
        )
        for port, binding in published_ports(record.config, record.host_config)
    ]


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first or 0), int(last or 0)


def parse_extra_host(item: str, host: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and addresses of an ``--add-host``.

    Args:
        item: ``name:address`` or ``name=address``.
        host: What ``host-gateway`` stands for.

    Raises:
        InvalidParameterError: Neither.
    """
    separator = min((mark for mark in ":=" if mark in item), key=item.index, default="")
    name, _, address = item.partition(separator) if separator else ("", "", "")
    if not name:
        raise InvalidParameterError(f"bad format for add-host: {item!r}: want NAME:ADDRESS")
    return [(name, each) for each in (host if address == "host-gateway" else [address])]


def host_addresses(networks: Sequence[model.Network], default: model.Network) -> list[str]:
    """Return the host's addresses as a container sees them, one of each IP version.

    Args:
        networks: The container's, in the order it joined them.
        default: The default bridge: its address is the host's, where no bridge is in between.
    """
    for network in (*networks, default):
        found = bridge_interfaces(network) if network.driver is model.Driver.BRIDGE else []
        if found:
            return [str(item.ip) for item in found]
    return []


def port_map(
    container: Container, published: Sequence[model.PublishedPort]
) -> dict[str, list[PortBinding] | None]:
    """Return a container's exposed ports in Docker's spelling, with where they are published."""
    ports: dict[str, list[PortBinding] | None] = dict.fromkeys(
        container.record.config.exposed_ports
    )
    for item in published:
        key = f"{item.container_port}/{item.protocol}"
        bindings = ports.get(key) or []
        bindings.append(PortBinding(host_ip=item.host_ip, host_port=str(item.host_port)))
        ports[key] = bindings
    return ports
