"""Which networks there are, and which subnets they get.

The three that always exist (``bridge``, ``host``, ``none``) and the user's own. A subnet the user
names is taken or refused; one the engine chooses avoids every other network and every route of the
host, and is chosen again when a route has come into its way before anybody used it.
Not thread-safe: the controller locks.
"""

import dataclasses
import ipaddress
import os
import re
from collections.abc import Callable, Collection, Sequence
from typing import Final

from kedge.errdefs import ConflictError, ForbiddenError, InvalidParameterError, NotFoundError
from kedge.lib.clock import Clock
from kedge.lib.ids import new_id
from kedge.network import names
from kedge.network.ipam import IPNetwork, SubnetPool, choose_subnet, find_overlap
from kedge.network.model import Driver, Network, NetworkOptions, NetworkSpec, Subnet
from kedge.network.options import BRIDGE_NAME, parse_options
from kedge.network.parents import DRIVERS, check_companions
from kedge.network.store import NetworkStore

DEFAULT_BRIDGE: Final = "bridge"
_PREDEFINED: Final = frozenset({DEFAULT_BRIDGE, "host", "none"})
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_IPV6_PREFIX_FACT: Final = "ipv6_prefix"


class NetworkCatalogue:
    """The records of networks."""

    def __init__(
        self, store: NetworkStore, data_root: str, options: NetworkOptions, clock: Clock
    ) -> None:
        """Read the records."""
        self._store = store
        self._data_root = data_root
        self._options = options
        self._clock = clock
        self._networks = {network.id: network for network in store.networks()}

    def networks(self) -> list[Network]:
        """Return all networks, oldest first."""
        return list(self._networks.values())

    def try_find(self, reference: str) -> Network | None:
        """Return the network of that name, id or unique beginning of an id.

        Raises:
            InvalidParameterError: Several ids begin so.
        """
        for network in self._networks.values():
            if reference in {network.name, network.id}:
                return network
        matches = [n for n in self._networks.values() if reference and n.id.startswith(reference)]
        if len(matches) > 1:
            raise InvalidParameterError(f"multiple networks found with prefix: {reference}")
        return matches[0] if matches else None

    def find(self, reference: str) -> Network:
        """Return the network of that name, id or unique beginning of an id.

        Raises:
            NotFoundError: There is none.
        """
        network = self.try_find(reference)
        if network is None:
            raise NotFoundError(f"network {reference} not found")
        return network

    def ensure_predefined(
        self, taken: Sequence[IPNetwork], *, has_ipv6: bool, in_use: bool
    ) -> None:
        """Make ``bridge``, ``host`` and ``none`` exist; the bridge as the options say.

        Args:
            taken: Networks the host has routes to.
            has_ipv6: Whether the kernel does IPv6.
            in_use: Whether the default bridge has endpoints; then it stays as it is.
        """
        present = self.try_find(DEFAULT_BRIDGE)
        if present is None:
            self._put(self._new(DEFAULT_BRIDGE, Driver.BRIDGE))
        for name, driver in (("host", Driver.HOST), ("none", Driver.NULL)):
            if self.try_find(name) is None:
                self._put(self._new(name, driver))
        enable_ipv6 = self._options.ipv6 and has_ipv6
        if present is None or (not in_use and not self._is_as_wanted(present, enable_ipv6)):
            record = self.find(DEFAULT_BRIDGE)
            bridge = self._options.bridge or names.default_bridge_name(self._data_root)
            self._put(
                dataclasses.replace(
                    record,
                    subnets=self._default_subnets(taken, enable_ipv6=enable_ipv6),
                    bridge=bridge,
                    enable_ipv6=enable_ipv6,
                    options=_default_options(bridge, icc=self._options.icc),
                )
            )

    def create(
        self,
        spec: NetworkSpec,
        taken: Sequence[IPNetwork],
        choose_link: Callable[[NetworkSpec, str], tuple[str, bool]],
    ) -> Network:
        """Record a new network; its subnets are the spec's or chosen.

        Args:
            spec: What it shall be.
            taken: Networks the host has routes to.
            choose_link: Returns, from the spec and the network's id, its bridge or parent and
                whether that is the engine's own to make and remove.

        Raises:
            InvalidParameterError: The name or a gateway is malformed.
            ConflictError: The name is taken.
            ForbiddenError: A subnet overlaps another network or a route of the host.
        """
        if spec.name in _PREDEFINED or spec.name == "default":
            raise ForbiddenError(f"operation is not permitted on predefined {spec.name} network")
        if not _NAME.fullmatch(spec.name):
            raise InvalidParameterError(
                f"invalid network name: {spec.name!r}: want letters, digits, '_', '.' and '-'"
            )
        if not spec.enable_ipv4 and not spec.enable_ipv6:
            raise InvalidParameterError("IPv4 or IPv6 must be enabled")
        if not spec.is_internal and parse_options(spec.driver, spec.options).no_gateway:
            raise InvalidParameterError(
                "gateway mode 'isolated' can only be used for an internal network: add --internal"
            )
        if any(network.name == spec.name for network in self._networks.values()):
            raise ConflictError(f"network with name {spec.name} already exists")
        self._check_subnets(spec, taken)
        subnets = list(spec.subnets)
        versions = {subnet.network.version for subnet in subnets}
        if spec.enable_ipv4 and 4 not in versions:
            subnets.insert(0, self._choose4(self._options.network_pools, taken))
        if spec.enable_ipv6 and 6 not in versions:
            subnets.append(self._choose6(taken))
        network = self._new(spec.name, spec.driver)
        link, is_own = choose_link(spec, network.id)
        is_bridge = spec.driver is Driver.BRIDGE
        is_dead_end = not is_bridge and not parse_options(spec.driver, spec.options).parent
        network = dataclasses.replace(
            network,
            subnets=tuple(subnets),
            bridge=link if is_bridge else "",
            parent="" if is_bridge else link,
            owns_link=is_own,
            is_internal=spec.is_internal or is_dead_end,
            is_attachable=spec.is_attachable,
            enable_ipv4=any(subnet.network.version == 4 for subnet in subnets),
            enable_ipv6=any(subnet.network.version == 6 for subnet in subnets),
            options=dict(spec.options),
            ipam_options=dict(spec.ipam_options),
            labels=dict(spec.labels),
        )
        self._check_link(network)
        self._put(network)
        return network

    def _check_link(self, network: Network) -> None:
        if network.driver in DRIVERS:
            check_companions(network, self.networks())
            return
        for other in self._networks.values():
            if other.bridge == network.bridge:
                raise ForbiddenError(
                    f"conflicts with network {other.id} ({other.name}): "
                    f"networks have same bridge name {network.bridge}"
                )

    def remove(self, network: Network, leaving: Collection[str] = ()) -> None:
        """Forget a network, but not that links of its are still to be removed.

        Raises:
            ForbiddenError: It is predefined.
        """
        if network.name in _PREDEFINED:
            raise ForbiddenError(f"{network.name} is a pre-defined network and cannot be removed")
        self._store.delete_network(network.id, leaving)
        del self._networks[network.id]

    def choose_again(self, network: Network, taken: Sequence[IPNetwork]) -> Network:
        """Return the network with new automatic subnets where a host's route is in the way.

        For a network nobody uses, before its bridge is made: the routes may have changed since
        the first choice.
        """
        subnets: list[Subnet] = []
        for subnet in network.subnets:
            if not subnet.is_automatic or find_overlap(subnet.network, taken) is None:
                subnets.append(subnet)
            elif subnet.network.version == 6:
                subnets.append(self._choose6(taken))
            else:
                is_default = network.name == DEFAULT_BRIDGE
                options = self._options
                pools = options.bridge_pools if is_default else options.network_pools
                subnets.append(self._choose4(pools, taken, apart_from=network.id))
        if tuple(subnets) == network.subnets:
            return network
        changed = dataclasses.replace(network, subnets=tuple(subnets))
        self._put(changed)
        return changed

    def _put(self, network: Network) -> None:
        self._store.put_network(network)
        self._networks[network.id] = network

    def _new(self, name: str, driver: Driver) -> Network:
        return Network(id=new_id(), name=name, driver=driver, created_ns=self._clock.time_ns())

    def _is_as_wanted(self, present: Network, enable_ipv6: bool) -> bool:  # noqa: FBT001
        bip = self._options.bip
        return (
            present.enable_ipv6 == enable_ipv6
            and present.bridge
            == (self._options.bridge or names.default_bridge_name(self._data_root))
            and present.options == _default_options(present.bridge, icc=self._options.icc)
            and bool(present.subnets)
            and (
                present.subnets[0].is_automatic if not bip else present.subnets[0] == parse_bip(bip)
            )
        )

    def _default_subnets(
        self, taken: Sequence[IPNetwork], *, enable_ipv6: bool
    ) -> tuple[Subnet, ...]:
        if self._options.bip:
            first = parse_bip(self._options.bip)
        else:
            first = self._choose4(self._options.bridge_pools, taken)
        return (first, self._choose6(taken)) if enable_ipv6 else (first,)

    def _choose4(
        self, pools: Sequence[SubnetPool], taken: Sequence[IPNetwork], *, apart_from: str = ""
    ) -> Subnet:
        others = [*taken, *self._subnets(apart_from=apart_from)]
        return _automatic(choose_subnet(pools, others))

    def _choose6(self, taken: Sequence[IPNetwork]) -> Subnet:
        pool = SubnetPool(base=self._ipv6_prefix(), size=64)
        return _automatic(choose_subnet([pool], [*taken, *self._subnets()]))

    def _ipv6_prefix(self) -> ipaddress.IPv6Network:
        """Return the engine's own /48 of unique local addresses, random as RFC 4193 asks."""
        text = self._store.fact(_IPV6_PREFIX_FACT)
        if text is None:
            packed = b"\xfd" + os.urandom(5) + bytes(10)
            text = str(ipaddress.IPv6Network((packed, 48)))
            self._store.remember(_IPV6_PREFIX_FACT, text)
        return ipaddress.IPv6Network(text)

    def _subnets(self, *, apart_from: str = "") -> list[IPNetwork]:
        return [
            subnet.network
            for network in self._networks.values()
            if network.id != apart_from
            for subnet in network.subnets
        ]

    def _check_subnets(self, spec: NetworkSpec, taken: Sequence[IPNetwork]) -> None:
        families = [subnet.network.version for subnet in spec.subnets]
        if spec.driver is Driver.BRIDGE and len(set(families)) < len(families):
            raise ForbiddenError("bridge driver doesn't support multiple subnets")
        # On a wire of the host's the host has a route there already; that is what it is for.
        others: Sequence[IPNetwork] = () if spec.driver in DRIVERS else taken
        for number, subnet in enumerate(spec.subnets):
            self._check_subnet(subnet, others)
            own = find_overlap(subnet.network, [item.network for item in spec.subnets[:number]])
            if own is not None:
                raise ForbiddenError(
                    "invalid pool request: Pool overlaps with other one on this address space: "
                    f"{subnet.network} overlaps {own} of the same network"
                )

    def _check_subnet(self, subnet: Subnet, taken: Sequence[IPNetwork]) -> None:
        if subnet.gateway not in subnet.network:
            raise InvalidParameterError(
                f"no matching subnet for gateway {subnet.gateway}: it is not in {subnet.network}"
            )
        for name, address in subnet.reserved.items():
            if address not in subnet.network:
                raise InvalidParameterError(
                    f"no matching subnet for aux-address {name}={address}: "
                    f"it is not in {subnet.network}"
                )
        for network in self._networks.values():
            if find_overlap(subnet.network, [other.network for other in network.subnets]):
                raise ForbiddenError(
                    "invalid pool request: Pool overlaps with other one on this address space: "
                    f"{subnet.network} overlaps network {network.name}"
                )
        route = find_overlap(subnet.network, taken)
        if route is not None:
            raise ForbiddenError(
                "invalid pool request: Pool overlaps with other one on this address space: "
                f"{subnet.network} overlaps the host's route to {route}"
            )


def parse_bip(text: str) -> Subnet:
    """Return the subnet of a ``--bip`` value, the bridge's own address with its prefix.

    Raises:
        InvalidParameterError: Not such a value.
    """
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        raise InvalidParameterError(f"invalid bip {text}: expected e.g. 10.9.0.1/24") from None
    network = interface.network
    if network.prefixlen > 30 or interface.ip in {network[0], network[-1]}:
        raise InvalidParameterError(f"invalid bip {text}: no address is left for a container")
    return Subnet(network=network, gateway=interface.ip)


def _automatic(network: IPNetwork) -> Subnet:
    return Subnet(network=network, gateway=network[1], is_automatic=True)


def _default_options(bridge: str, *, icc: bool) -> dict[str, str]:
    """Return the options Docker shows for its default bridge."""
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(icc).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104
        BRIDGE_NAME: bridge,
    }
