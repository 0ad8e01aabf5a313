"""What must be true of the host before a container can join a network.

The bridge with its addresses, forwarding, and the packet filter's knowledge of the bridge: made
when a network is first used, under a lock all engines of the host share, because the choice of a
subnet is only worth something if nobody else chooses at the same time. Not thread-safe: the
controller locks.
"""

from collections.abc import Callable, Iterable, Sequence

from kedge.errdefs import SystemFailureError
from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.netlink import NetlinkError
from kedge.network.addresses import AddressBook
from kedge.network.bridge import (
    BridgeDriver,
    LiveBridge,
    advertised_links,
    host_networks,
    uplink_mtu,
)
from kedge.network.catalogue import NetworkCatalogue
from kedge.network.files import load_nameserver_networks
from kedge.network.hostfirewall import forward_problems
from kedge.network.ipam import IPNetwork
from kedge.network.kernel import HostKernel
from kedge.network.model import Network, NetworkOptions
from kedge.network.parents import DRIVERS, ParentDriver
from kedge.network.publishing import PortPublisher
from kedge.network.store import NetworkStore


def taken_networks(kernel: HostKernel, network: Network | None) -> list[IPNetwork]:
    """Return what a subnet must not overlap: the host's routes and its name servers.

    Args:
        kernel: The host.
        network: The network the subnet is for, whose own bridge does not count.
    """
    own = kernel.try_link(network.bridge) if network and network.bridge else None
    ignore = () if own is None else (own.ifindex,)
    return host_networks(kernel.routes(), ignore=ignore) + load_nameserver_networks()


class HostPreparation:
    """Makes networks live, and remembers which are."""

    def __init__(
        self,
        kernel: HostKernel,
        options: NetworkOptions,
        *,
        store: NetworkStore,
        catalogue: NetworkCatalogue,
        addresses: AddressBook,
        driver: BridgeDriver,
        parents: ParentDriver,
        publisher: PortPublisher,
        warn: Callable[[str], None],
    ) -> None:
        """Work on the parts the controller is made of; nothing is changed yet."""
        self._warn = warn
        self._kernel = kernel
        self._options = options
        self._store = store
        self._catalogue = catalogue
        self._addresses = addresses
        self._driver = driver
        self._parents = parents
        self._publisher = publisher
        self._live: dict[str, LiveBridge] = {}
        self._has_looked = False
        self.problems: list[str] = []
        """What does not work on this host, one line each."""

    def remember(self, problems: Iterable[str]) -> None:
        """Have problems told that others have found, and are told of themselves."""
        self.problems += problems

    def _tell(self, *problems: str) -> None:
        for problem in problems:
            self.problems.append(problem)
            self._warn(problem)

    def is_any_live(self) -> bool:
        """Tell whether a network is in use since this engine started."""
        return bool(self._live)

    def bridge(self, network_id: str) -> LiveBridge:
        """Return a live network's bridge."""
        return self._live[network_id]

    def forget(self, network_id: str) -> None:
        """Take a network for not prepared, because its bridge is gone."""
        self._live.pop(network_id, None)

    def ensure_live(self, network: Network) -> Network:
        """Return the network with its bridge and rules in place, perhaps with a new subnet."""
        if network.id in self._live:
            return network
        if network.driver in DRIVERS:
            with self._kernel.setup_lock():
                self._live[network.id] = self._parents.ensure(network)
            return network
        with self._kernel.setup_lock():
            routes, links = self._kernel.routes(), self._kernel.links()
            if not self._addresses.is_in_use(network.id):
                before = network
                network = self._catalogue.choose_again(
                    network, taken_networks(self._kernel, network)
                )
                if network != before:
                    self._addresses.drop_pools(network.id)
            live = self._driver.ensure(network, uplink_mtu(routes, links))
        self._switch_forwarding(network, routes, links)
        if not self._has_looked:
            self._look_at_packet_filter()
        self._publisher.add_network(network)
        self._live[network.id] = live
        return network

    def _switch_forwarding(
        self, network: Network, routes: Sequence[ra.Route], links: Sequence[rt.Link]
    ) -> None:
        """Let the host forward; where it cannot be switched, say so and go on without."""
        if not self._options.ip_forward:
            return
        try:
            changed = self._kernel.ensure_forwarding(
                ipv6=network.enable_ipv6, advertised=advertised_links(routes, links)
            )
        except SystemFailureError as error:
            self._tell(f"containers cannot reach the outside: {error}")
            return
        if changed:
            self._store.remember("switched_on", " ".join(changed))

    def _look_at_packet_filter(self) -> None:
        """Find out, once, whether there is a packet filter and who else drops what we forward."""
        try:
            self._ask_for_packet_filter()
        except NetlinkError as error:
            raise SystemFailureError(
                f"cannot load packet filter rules: {error.strerror}; the engine needs "
                "CAP_NET_ADMIN in its network namespace, or --iptables=false to go without"
            ) from error
        self._has_looked = True

    def _ask_for_packet_filter(self) -> None:
        if not self._options.packet_filter:
            return
        problem = self._kernel.packet_filter_problem()
        if problem:
            self._publisher.has_packet_filter = False
            self._tell(
                f"{problem}: published ports go through the userland proxy, networks are not "
                "kept apart, and containers reach the outside only where it routes back to them"
            )
            return
        if not self._kernel.has_bridge_filter():
            self._publisher.can_guard = False
            self._tell(
                "this kernel has no nf_tables for bridges: a container with CAP_NET_RAW "
                "can use the address of another one of its network"
            )
        self._tell(*forward_problems(self._kernel.base_chains()))
