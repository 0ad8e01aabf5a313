"""Which addresses are out: endpoints, their pools and their records.

`AddressBook` keeps the pools in memory and the truth in the database, so that an address is never
handed out twice, across restarts too. An endpoint that leaves keeps its addresses until `forget`,
because its link may still answer for them. Not thread-safe: the controller locks.
"""

import contextlib
import dataclasses
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from kedge.errdefs import ConflictError, InvalidParameterError
from kedge.lib.ids import new_id, short_id
from kedge.network import names
from kedge.network.ipam import AddressPool, IPAddress, IPNetwork
from kedge.network.model import Driver, Endpoint, EndpointSettings, IPInterface, Network, Subnet
from kedge.network.options import parse_options
from kedge.network.parents import random_mac
from kedge.network.store import NetworkStore

_LINKS_MAX: Final = 36


class AddressBook:
    """The endpoints of all networks."""

    def __init__(self, store: NetworkStore) -> None:
        """Read the records."""
        self._store = store
        self._endpoints: dict[str, Endpoint] = {}
        self._by_container: dict[str, dict[str, Endpoint]] = {}
        self._leaving: set[str] = set()
        self._pools: dict[tuple[str, IPNetwork], AddressPool] = {}
        for stored in store.endpoints():
            self._remember(stored.endpoint)
            if stored.is_leaving:
                self._leaving.add(stored.endpoint.id)

    def active(self, *, network_id: str = "", container_id: str = "") -> list[Endpoint]:
        """Return the endpoints that are not leaving, of one network or container where given."""
        return [
            endpoint
            for endpoint in self._of(container_id)
            if endpoint.id not in self._leaving and network_id in {"", endpoint.network_id}
        ]

    def leaving(self, *, network_id: str = "") -> list[Endpoint]:
        """Return the endpoints whose links are still to be removed, of one network where given."""
        found = (self._endpoints[endpoint_id] for endpoint_id in self._leaving)
        return [endpoint for endpoint in found if network_id in {"", endpoint.network_id}]

    def is_in_use(self, network_id: str) -> bool:
        """Tell whether a network has endpoints, leaving ones included."""
        return any(e.network_id == network_id for e in self._endpoints.values())

    def create(self, container_id: str, network: Network, settings: EndpointSettings) -> Endpoint:
        """Record an endpoint with addresses of its own.

        Raises:
            InvalidParameterError: An address asked for is not in the network's subnets.
            ConflictError: The address is taken, the pool is exhausted, or the container is in
                this network already.
        """
        if self.active(network_id=network.id, container_id=container_id):
            raise ConflictError(
                f"endpoint of container {short_id(container_id)} already exists "
                f"in network {network.name}"
            )
        wanted: dict[int, IPAddress | None] = {4: settings.ipv4, 6: settings.ipv6}
        versions = sorted({subnet.network.version for subnet in network.subnets})
        for version, address in wanted.items():
            if address is not None and version not in versions:
                raise InvalidParameterError(
                    f"no configured subnet contains IP address {address}; "
                    f"network {network.name} has no IPv{version} subnet"
                )
        allocated: list[tuple[AddressPool, IPAddress]] = []
        chosen: list[Subnet] = []
        interfaces: dict[int, IPInterface] = {}
        try:
            for version in versions:
                subnet, pool, address = self._allocate(network, version, wanted[version])
                allocated.append((pool, address))
                chosen.append(subnet)
                length = subnet.network.prefixlen
                interfaces[version] = ipaddress.ip_interface(f"{address}/{length}")
            gateways = _gateways(network, chosen)
            endpoint = self._record(container_id, network, settings, interfaces, gateways)
            self._store.put_endpoint(endpoint)
        except BaseException:
            for pool, address in allocated:
                pool.release(address)
            raise
        self._remember(endpoint)
        return endpoint

    def leave(self, endpoint: Endpoint) -> None:
        """Record that an endpoint is going; its addresses stay out until `forget`."""
        self._store.mark_leaving(endpoint.id)
        self._leaving.add(endpoint.id)

    def forget(self, endpoint_ids: Collection[str]) -> None:
        """Give the addresses of endpoints back."""
        self._store.delete_endpoints(list(endpoint_ids))
        for endpoint_id in endpoint_ids:
            endpoint = self._endpoints.pop(endpoint_id, None)
            self._leaving.discard(endpoint_id)
            if endpoint is None:
                continue
            siblings = self._by_container[endpoint.container_id]
            del siblings[endpoint_id]
            if not siblings:
                del self._by_container[endpoint.container_id]
            for interface in (endpoint.ipv4, endpoint.ipv6):
                if interface is not None:
                    pool = self._pools.get((endpoint.network_id, interface.network))
                    if pool is not None:
                        pool.release(interface.ip)

    def _remember(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.id] = endpoint
        self._by_container.setdefault(endpoint.container_id, {})[endpoint.id] = endpoint

    def _of(self, container_id: str) -> Iterable[Endpoint]:
        """Return a container's endpoints, or all; no start looks at those of the others."""
        if not container_id:
            return self._endpoints.values()
        return self._by_container.get(container_id, {}).values()

    def drop_pools(self, network_id: str) -> None:
        """Forget the pools of a network that is gone or has new subnets; nobody is in it."""
        for key in [key for key in self._pools if key[0] == network_id]:
            del self._pools[key]

    def _allocate(
        self, network: Network, version: int, wanted: IPAddress | None
    ) -> tuple[Subnet, AddressPool, IPAddress]:
        """Hand an address out: the one wanted, else of the first subnet that has one left."""
        subnets = [subnet for subnet in network.subnets if subnet.network.version == version]
        # A wish that no subnet contains is refused by the first.
        if wanted is not None:
            subnets = [subnet for subnet in subnets if wanted in subnet.network] or subnets[:1]
        for subnet in subnets[:-1]:
            pool = self._pool(network, subnet)
            with contextlib.suppress(ConflictError):
                return subnet, pool, pool.allocate(wanted)
        pool = self._pool(network, subnets[-1])
        return subnets[-1], pool, pool.allocate(wanted)

    def _pool(self, network: Network, subnet: Subnet) -> AddressPool:
        """Return a subnet's pool; what the records say is out is out."""
        key = (network.id, subnet.network)
        pool = self._pools.get(key)
        if pool is None:
            used = [
                interface.ip
                for endpoint in self._endpoints.values()
                if endpoint.network_id == network.id
                for interface in (endpoint.ipv4, endpoint.ipv6)
                if interface is not None and interface.network == subnet.network
            ]
            pool = AddressPool(
                subnet.network,
                name=network.name,
                ip_range=subnet.ip_range,
                used=[subnet.gateway, *subnet.reserved.values(), *used],
            )
            self._pools[key] = pool
        return pool

    def _record(
        self,
        container_id: str,
        network: Network,
        settings: EndpointSettings,
        interfaces: dict[int, IPInterface],
        gateways: dict[int, IPAddress],
    ) -> Endpoint:
        extras = settings.extras
        if _is_routed(network):
            extras = dataclasses.replace(extras, is_on_link=not network.is_internal)
        ipv4, ipv6 = interfaces.get(4), interfaces.get(6)
        gateway4, gateway6 = gateways.get(4), gateways.get(6)
        first = ipv4 or ipv6
        return Endpoint(
            id=new_id(),
            container_id=container_id,
            network_id=network.id,
            network_name=network.name,
            driver=network.driver,
            link=self._free_link(container_id) if first is not None else "",
            mac=_mac(network, settings.mac, first) if first is not None else "",
            extras=extras,
            ipv4=ipv4 if isinstance(ipv4, ipaddress.IPv4Interface) else None,
            ipv6=ipv6 if isinstance(ipv6, ipaddress.IPv6Interface) else None,
            gateway4=gateway4 if isinstance(gateway4, ipaddress.IPv4Address) else None,
            gateway6=gateway6 if isinstance(gateway6, ipaddress.IPv6Address) else None,
        )

    def _free_link(self, container_id: str) -> str:
        """Return a name for the link that no other one of the container has, leaving ones too."""
        taken = {endpoint.link for endpoint in self._of(container_id)}
        for index in range(_LINKS_MAX):
            name = names.veth_name(container_id, index)
            if name not in taken:
                return name
        raise ConflictError(f"container {short_id(container_id)} is in {_LINKS_MAX} networks")


def _is_routed(network: Network) -> bool:
    """Tell whether containers have no neighbours, only a way out (ipvlan in an L3 mode)."""
    if network.driver is not Driver.IPVLAN:
        return False
    return parse_options(network.driver, network.options).mode != "l2"


def _gateways(network: Network, subnets: Sequence[Subnet]) -> dict[int, IPAddress]:
    """Return the gateways of a container with addresses in ``subnets``, by IP version."""
    if network.is_internal or _is_routed(network) or not network.has_own_links:
        return {}
    missing = parse_options(network.driver, network.options).no_gateway
    return {
        subnet.network.version: subnet.gateway
        for subnet in subnets
        if subnet.network.version not in missing
    }


def _mac(network: Network, wanted: str, first: IPInterface) -> str:
    """Return the address of a new link; empty on ipvlan, where it is the parent's."""
    match network.driver:
        case Driver.IPVLAN:
            return ""
        case Driver.MACVLAN:
            return wanted or random_mac()
        case _:
            return wanted or names.mac_for(first.ip.packed)
