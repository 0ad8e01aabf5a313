"""Which networks a container is to be in, and what it may ask of them. Pure.

The rules and texts are moby's: the network mode names the first network, the networking
configuration of the request the others; `host`, `none` and another container's network stand alone.
"""

from collections.abc import Callable, Mapping
from typing import Final

from kedge.api.types.config import EndpointSettings
from kedge.engine.record import ContainerRecord
from kedge.errdefs import ForbiddenError, InvalidParameterError
from kedge.lib.ids import short_id
from kedge.network.model import Driver, Network
from kedge.network.options import parse_extras

DEFAULT_NETWORK: Final = "bridge"
_DEFAULT_MODES: Final = frozenset({"", "default", DEFAULT_NETWORK})
_LONELY_MODES: Final = frozenset({"host", "none"})


def initial_networks(
    mode: str,
    asked: Mapping[str, EndpointSettings | None],
    try_find: Callable[[str], Network | None],
) -> dict[str, EndpointSettings]:
    """Return the networks a new container is to join, by name, the first one first.

    Args:
        mode: Its network mode.
        asked: The networking configuration of the request, by name or id.
        try_find: Returns the network of that name or id.

    Raises:
        ForbiddenError: `host` or `none` together with another network.
        InvalidParameterError: Settings the network cannot honour.
    """
    if mode.startswith("container:"):
        return {}
    first = DEFAULT_NETWORK if mode in _DEFAULT_MODES else _name_of(mode, try_find)
    wanted: dict[str, EndpointSettings] = {}
    for reference, settings in asked.items():
        name = DEFAULT_NETWORK if reference == "default" else _name_of(reference, try_find)
        wanted[name] = settings or EndpointSettings()
    if not wanted or mode not in _DEFAULT_MODES:
        wanted = {first: wanted.pop(first, EndpointSettings()), **wanted}
    for name in wanted:
        check_company(name, wanted)
        network = try_find(name)
        if network is not None:
            check_wish(network, wanted[name])
    return wanted


def check_company(name: str, others: Mapping[str, object]) -> None:
    """Raise unless a container may be in the network ``name`` beside ``others``.

    Raises:
        ForbiddenError: One of them stands alone.
    """
    names = {name, *others}
    if len(names) == 1:
        return
    if "host" in names:
        raise ForbiddenError(
            "container cannot be disconnected from host network or connected to host network"
        )
    if "none" in names:
        raise ForbiddenError(
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode"
        )


def check_can_join(record: ContainerRecord, network: Network) -> None:
    """Raise unless the container may be connected to one more network.

    Raises:
        ForbiddenError: It shares its network, stands alone, or is in this network already.
    """
    mode = record.host_config.network_mode
    if mode.startswith("container:") or mode == "host":
        raise ForbiddenError(
            "container sharing network namespace with another container or host cannot be "
            "connected to any other network"
        )
    if network.name in record.networks:
        raise ForbiddenError(
            f"endpoint with name {record.name} already exists in network {network.name}"
        )
    check_company(network.name, record.networks)


def check_wish(network: Network, wish: EndpointSettings) -> None:
    """Raise unless the network can honour what is asked of a place in it.

    Raises:
        InvalidParameterError: An address or alias on a network that has none of that kind.
    """
    ipam = wish.ipam_config
    has_address = ipam is not None and bool(ipam.ipv4_address or ipam.ipv6_address)
    is_user_defined = network.driver is not Driver.HOST and network.name not in (
        DEFAULT_NETWORK,
        *_LONELY_MODES,
    )
    if has_address and not is_user_defined:
        raise InvalidParameterError(
            "user specified IP address is supported on user defined networks only"
        )
    if has_address and not network.has_chosen_subnets:
        raise InvalidParameterError(
            "user specified IP address is supported only when connecting to networks with user "
            f"configured subnets: make network {network.name} with --subnet"
        )
    parse_extras(wish.driver_opts or {}, ipam.link_local_ips if ipam else [])
    if wish.mac_address and network.driver is Driver.IPVLAN:
        raise InvalidParameterError(
            "ipvlan interfaces do not support custom mac address assignment"
        )
    if wish.aliases and not is_user_defined:
        raise InvalidParameterError(
            "network-scoped aliases are only supported for user-defined networks"
        )


def dns_names(record: ContainerRecord, wish: EndpointSettings) -> list[str]:
    """Return the names a container answers to in a network, the best one first."""
    names = [record.name, *(wish.aliases or ()), short_id(record.id)]
    if record.config.hostname:
        names.append(record.config.hostname)
    return list(dict.fromkeys(names))


def chosen_macs(networks: Mapping[str, EndpointSettings], first: str) -> dict[str, str]:
    """Return the MAC addresses the user has chosen, by network.

    Args:
        networks: What is asked of each.
        first: The container's own, from before it could be in several networks.
    """
    chosen = {name: item.mac_address for name, item in networks.items() if item.mac_address}
    if first and networks:
        chosen.setdefault(next(iter(networks)), first)
    return chosen


def priorities(networks: Mapping[str, EndpointSettings]) -> dict[str, int]:
    """Return ``GwPriority`` by network id."""
    return {item.network_id: item.gw_priority for item in networks.values() if item.gw_priority}


def _name_of(reference: str, try_find: Callable[[str], Network | None]) -> str:
    """Return the network's name; what is not there yet is found out at the start."""
    network = try_find(reference)
    return reference if network is None else network.name
