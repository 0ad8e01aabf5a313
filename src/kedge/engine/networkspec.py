"""The body of ``POST /networks/create`` as a `NetworkSpec`. Pure."""

import ipaddress

from kedge.api.types.network import IPAM, IPAMConfig, NetworkCreateRequest
from kedge.errdefs import (
    ForbiddenError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    NotSupportedError,
)
from kedge.network.ipam import IPAddress, IPNetwork, parse_address, parse_network
from kedge.network.model import Driver, NetworkSpec, Subnet
from kedge.network.options import ENABLE_IPV4, ENABLE_IPV6, is_enabled, parse_options

_ALONE = frozenset({"host", "null"})
_DRIVERS = frozenset({Driver.BRIDGE, Driver.MACVLAN, Driver.IPVLAN})


def make_network_spec(request: NetworkCreateRequest) -> NetworkSpec:
    """Return what the request asks for.

    Raises:
        InvalidParameterError: A malformed subnet, range or address; all of them are named.
        NotFoundError: An unknown driver, with Docker's text.
        NotSupportedError: What only a swarm has.
    """
    driver = request.driver or "bridge"
    if driver in _ALONE:
        name = "host" if driver == "host" else "none"
        raise ForbiddenError(f'only one instance of "{driver}" network is allowed: use {name}')
    if driver not in _DRIVERS:
        raise NotFoundError(
            f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found'
        )
    if request.scope not in {"", "local"}:
        raise NotSupportedError(f"scope {request.scope} needs a swarm: leave it out")
    copied = request.config_from is not None and bool(request.config_from.network)
    if request.ingress or request.config_only or copied:
        raise NotSupportedError(
            "ingress networks need a swarm, and configurations of networks are not kept: leave "
            "--ingress, --config-only and --config-from out"
        )
    options = dict(request.options)
    parse_options(Driver(driver), options)
    has_ipv4 = is_enabled(options, ENABLE_IPV4, asked=request.enable_ipv4, default=True)
    has_ipv6 = is_enabled(options, ENABLE_IPV6, asked=request.enable_ipv6, default=False)
    # As with Docker: what a field of the request overrides is not shown.
    for name, asked in ((ENABLE_IPV4, request.enable_ipv4), (ENABLE_IPV6, request.enable_ipv6)):
        if asked is not None:
            options.pop(name, None)
    return NetworkSpec(
        name=request.name,
        driver=Driver(driver),
        subnets=_subnets(request.ipam or IPAM()),
        is_internal=request.internal,
        is_attachable=request.attachable,
        enable_ipv4=has_ipv4,
        enable_ipv6=has_ipv6,
        options=options,
        ipam_options=dict((request.ipam or IPAM()).options or {}),
        labels=dict(request.labels),
    )


def _subnets(ipam: IPAM) -> tuple[Subnet, ...]:
    if ipam.driver not in {"", "default"}:
        raise NotFoundError(f"could not find IPAM driver {ipam.driver}: use default")
    subnets: list[Subnet] = []
    problems: list[str] = []
    for config in ipam.config:
        if config == IPAMConfig():
            continue
        try:
            subnets.append(_subnet(config))
        except KedgeError as error:
            problems.append(str(error))
    if problems:
        raise InvalidParameterError("invalid network config: " + "; ".join(problems))
    # compat: clients send them in any order; Docker shows IPv4 first.
    return tuple(sorted(subnets, key=lambda subnet: subnet.network.version))


def _subnet(config: IPAMConfig) -> Subnet:
    if not config.subnet:
        raise InvalidParameterError(
            "a gateway, range or auxiliary address needs its subnet: add --subnet"
        )
    network = parse_network(config.subnet)
    if network.is_loopback or network.is_multicast or network.is_unspecified:
        raise InvalidParameterError(
            f"invalid subnet {network}: it is not one of addresses for links, such as 10.1.2.0/24"
        )
    if network.num_addresses < 4:
        raise InvalidParameterError(f"subnet {network} has no address left for a container")
    ip_range = parse_network(config.ip_range) if config.ip_range else None
    if ip_range is not None and not _covers(network, ip_range):
        raise InvalidParameterError(f"invalid ip-range {ip_range}: it is not in subnet {network}")
    reserved = {
        name: parse_address(value) for name, value in (config.auxiliary_addresses or {}).items()
    }
    gateway = parse_address(config.gateway) if config.gateway else _first_free(network, reserved)
    if gateway not in network:
        raise InvalidParameterError(f"invalid gateway {gateway}: it is not in subnet {network}")
    return Subnet(network=network, gateway=gateway, ip_range=ip_range, reserved=reserved)


def _first_free(network: IPNetwork, reserved: dict[str, IPAddress]) -> IPAddress:
    taken = set(reserved.values())
    return next(address for address in network.hosts() if address not in taken)


def _covers(network: IPNetwork, part: IPNetwork) -> bool:
    if isinstance(network, ipaddress.IPv4Network) and isinstance(part, ipaddress.IPv4Network):
        return part.subnet_of(network)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(part, ipaddress.IPv6Network):
        return part.subnet_of(network)
    return False
