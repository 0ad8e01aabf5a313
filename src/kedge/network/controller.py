"""`NetworkController`: the engine's networks, from the outside.

Joins the catalogue of networks, the address book, the bridge driver and the port publisher, and
keeps them in step with the database. Thread-safe and synchronous.

Order of operations. A record is written before the kernel is changed and removed after, so that
whatever a crash leaves is known to `restore`. The host is not changed before the first container
needs it (see `preparation`).

    create_endpoint   addresses and record      the bridge, if it is not there yet
    connect           links, addresses, routes  then the published ports
    remove_endpoint   ports at once             link in the background, then addresses and record
    remove_network    record at once            bridge in the background, then its rules
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from kedge.errdefs import (
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
)
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.lib.ids import short_id
from kedge.network import names
from kedge.network.addresses import AddressBook
from kedge.network.bridge import BridgeDriver
from kedge.network.catalogue import DEFAULT_BRIDGE, NetworkCatalogue
from kedge.network.departures import Departures
from kedge.network.gateway import gateway_versions
from kedge.network.hostfirewall import publish_warnings
from kedge.network.kernel import HostKernel, LinuxKernel
from kedge.network.links import NO_PRIORITIES, EndpointLinks
from kedge.network.model import (
    Endpoint,
    EndpointSettings,
    Network,
    NetworkOptions,
    NetworkSpec,
    PortBinding,
    PublishedPort,
    RestoreReport,
)
from kedge.network.options import parse_options
from kedge.network.parents import DRIVERS, ParentDriver
from kedge.network.preparation import HostPreparation, taken_networks
from kedge.network.publishing import PortPublisher
from kedge.network.recovery import Recovery
from kedge.network.store import NetworkStore
from kedge.network.upkeep import TableUpkeep

_NO_SETTINGS = EndpointSettings()


def _say_nothing(text: str) -> None:
    """Take a warning nobody wants to hear of."""


class NetworkController:
    """Everything the engine does with networks."""

    def __init__(
        self,
        database: Database,
        data_root: str,
        options: NetworkOptions | None = None,
        *,
        container_name: Callable[[str], str] = short_id,
        warn: Callable[[str], None] = _say_nothing,
        kernel: HostKernel | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Read the records and make the predefined networks' ones; the host is not changed.

        Args:
            database: Where the records are.
            data_root: The engine's data root; names on the host derive from it.
            options: The daemon's network options.
            container_name: Returns what people call a container, from its id, for messages.
            warn: Told, once each, what does not work on this host, when that is found out.
            kernel: The host; by default the calling thread's network namespace.
            clock: Where creation times come from.
        """
        options = options or NetworkOptions()
        self._options = options
        self._kernel = kernel or LinuxKernel()
        self._lock = threading.RLock()
        store = NetworkStore(database)
        self._store = store
        self._addresses = AddressBook(store)
        self._catalogue = NetworkCatalogue(store, data_root, options, clock)
        self._driver = BridgeDriver(self._kernel, mtu=options.mtu)
        self._parents = ParentDriver(self._kernel)
        table = names.table_name(data_root)
        self._publisher = PortPublisher(
            self._kernel,
            table,
            default_address=options.default_host_ip,
            container_name=container_name,
        )
        self._preparation = HostPreparation(
            self._kernel,
            options,
            store=store,
            catalogue=self._catalogue,
            addresses=self._addresses,
            driver=self._driver,
            parents=self._parents,
            publisher=self._publisher,
            warn=warn,
        )
        self._departures = Departures(
            self._lock,
            store=store,
            addresses=self._addresses,
            publisher=self._publisher,
            remove=self._driver.disconnect,
        )
        self._links = EndpointLinks(
            self._kernel,
            self._lock,
            catalogue=self._catalogue,
            preparation=self._preparation,
            driver=self._driver,
            parents=self._parents,
        )
        self._upkeep = TableUpkeep(self._kernel, table, self._publisher, self.reconcile)
        self._is_closed = False
        self._publisher.has_packet_filter = options.packet_filter
        self._ensure_predefined()

    def _ensure_predefined(self) -> None:
        present = self._catalogue.try_find(DEFAULT_BRIDGE)
        self._catalogue.ensure_predefined(
            taken_networks(self._kernel, present),
            has_ipv6=self._kernel.has_ipv6(),
            in_use=present is not None and self._addresses.is_in_use(present.id),
        )

    # Networks

    def networks(self) -> list[Network]:
        """Return all networks, oldest first."""
        with self._lock:
            return self._catalogue.networks()

    def get(self, reference: str) -> Network:
        """Return the network of that name, id or unique beginning of an id.

        Raises:
            NotFoundError: There is none.
        """
        with self._lock:
            return self._catalogue.find(reference)

    def try_get(self, reference: str) -> Network | None:
        """Return the network of that name, id or unique beginning of an id; None for none."""
        with self._lock:
            return self._catalogue.try_find(reference)

    def create_network(self, spec: NetworkSpec) -> Network:
        """Record a new network; its bridge or parent is made with its first endpoint.

        Raises:
            KedgeError: Name taken or malformed, subnet in the way of another network or route.
        """
        if self._departures.has_networks():
            # The last network's subnet, or its bridge's name, may be what the new one asks for.
            self._departures.drain()
        with self._lock, self._kernel.setup_lock():
            if spec.enable_ipv6 and not self._kernel.has_ipv6():
                raise InvalidParameterError(
                    f"network {spec.name} cannot have IPv6: it is switched off in this kernel; "
                    "run: sysctl -w net.ipv6.conf.all.disable_ipv6=0 "
                    "net.ipv6.conf.default.disable_ipv6=0"
                )
            return self._catalogue.create(
                spec, taken_networks(self._kernel, None), self._choose_link
            )

    def _choose_link(self, spec: NetworkSpec, network_id: str) -> tuple[str, bool]:
        """Return a new network's bridge or parent, and whether it is ours to make."""
        options = parse_options(spec.driver, spec.options)
        if spec.driver in DRIVERS:
            return self._parents.choose(options.parent, network_id)
        if not options.bridge:
            return names.bridge_name(network_id), True
        return options.bridge, self._kernel.try_link(options.bridge) is None

    def remove_network(self, reference: str) -> Network:
        """Remove a network nobody is in; its bridge goes in the background.

        Raises:
            ForbiddenError: It is predefined or has endpoints.
        """
        with self._lock:
            network = self._catalogue.find(reference)
            if self._addresses.active(network_id=network.id):
                raise ForbiddenError(
                    f"error while removing network: network {network.name} has active endpoints; "
                    "disconnect or remove its containers first"
                )
            leaving = self._addresses.leaving(network_id=network.id)
            links = [endpoint.link for endpoint in leaving if endpoint.link]
            links += self._own_links([network])
            self._catalogue.remove(network, links)
            self._preparation.forget(network.id)
            self._departures.remove_network(network, links)
        return network

    def has_packet_filter(self) -> bool:
        """Tell whether nf_tables is used; known once the first network has been prepared."""
        return self._publisher.has_packet_filter

    def problems(self) -> tuple[str, ...]:
        """Return what does not work on this host, one line each, for ``info`` and the log."""
        with self._lock:
            return tuple(self._preparation.problems)

    def publish_warnings(self, addresses: Sequence[str]) -> list[str]:
        """Return what whoever publishes ports on ``addresses`` should know; empty is every one."""
        if not self._publisher.has_packet_filter:
            return []
        # Who may not read the rules hears of it when they are made.
        with contextlib.suppress(OSError):
            default = self._options.default_host_ip
            return publish_warnings(self._kernel, [item or default for item in addresses])
        return []

    # Endpoints

    def create_endpoint(
        self, container_id: str, network: str, settings: EndpointSettings = _NO_SETTINGS
    ) -> Endpoint:
        """Give a container a place in a network: addresses and a MAC address, no link yet.

        Args:
            container_id: The container.
            network: Name or id.
            settings: Addresses it should have.

        Raises:
            KedgeError: No such network, address taken or outside it, bridge refused.
        """
        try:
            return self._create_endpoint(container_id, network, settings)
        except ConflictError:
            # The address may be one that is about to be free, such as this container's last one.
            with self._lock:
                is_hopeless = not self._addresses.leaving()
            if is_hopeless:
                raise
        self._departures.drain()
        return self._create_endpoint(container_id, network, settings)

    def _create_endpoint(
        self, container_id: str, network: str, settings: EndpointSettings
    ) -> Endpoint:
        with self._lock:
            found = self._catalogue.find(network)
            if found.has_own_links:
                found = self._preparation.ensure_live(found)
                self._upkeep.watch()
            return self._addresses.create(container_id, found, settings)

    def endpoints(self, *, network: str = "", container_id: str = "") -> list[Endpoint]:
        """Return the active endpoints, of one network or one container where given."""
        with self._lock:
            network_id = self._catalogue.find(network).id if network else ""
            return self._addresses.active(network_id=network_id, container_id=container_id)

    def connect(
        self,
        container_id: str,
        *,
        netns_fd: int,
        rtnl_fd: int,
        ports: Sequence[PortBinding] = (),
        name: str = "",
        priorities: Mapping[str, int] = NO_PRIORITIES,
    ) -> tuple[PublishedPort, ...]:
        """Make a container's links, configure its namespace and publish its ports.

        Interfaces are named ``eth0``, ``eth1``... in the order the endpoints were created. Which
        of them has the default routes and the published ports is said in `gateway`.

        Args:
            container_id: A container with endpoints.
            netns_fd: Its network namespace.
            rtnl_fd: An rtnetlink socket opened in that namespace; it stays open.
            ports: What to publish.
            name: The container's name, for messages.
            priorities: ``GwPriority`` by network id.

        Raises:
            PortInUseError: A port is taken; the text names the holder.
            KedgeError: The kernel refused. `remove_endpoint` takes back what was done.
        """
        endpoints = self.endpoints(container_id=container_id)
        if not endpoints:
            raise NotFoundError(f"container {short_id(container_id)} has no network endpoint")
        self._guard(endpoints)
        self._links.connect(endpoints, netns_fd=netns_fd, rtnl_fd=rtnl_fd, priorities=priorities)
        return self.publish(container_id, ports, name=name, priorities=priorities)

    def join(
        self,
        endpoint: Endpoint,
        *,
        netns_fd: int,
        rtnl_fd: int,
        priorities: Mapping[str, int] = NO_PRIORITIES,
    ) -> None:
        """Give a running container the link of a new endpoint, and the default route if it is due.

        Args:
            endpoint: Just made with `create_endpoint`.
            netns_fd: The container's network namespace.
            rtnl_fd: An rtnetlink socket opened in that namespace; it stays open.
            priorities: ``GwPriority`` by network id.

        Raises:
            KedgeError: The kernel refused. `leave` takes back what was done.
        """
        self._guard([endpoint])
        self._links.join(
            endpoint,
            self.endpoints(container_id=endpoint.container_id),
            netns_fd=netns_fd,
            rtnl_fd=rtnl_fd,
            priorities=priorities,
        )

    def _guard(self, endpoints: Sequence[Endpoint]) -> None:
        """Have the addresses of new links kept from others, and those of others from them."""
        with self._lock:
            self._publisher.guard(endpoints)

    def leave(
        self,
        container_id: str,
        networks: Sequence[str],
        *,
        rtnl_fd: int,
        priorities: Mapping[str, int] = NO_PRIORITIES,
    ) -> None:
        """Take a running container out of networks; another one gets its default route.

        The links are gone when this returns. Ports that were published through them are not moved.

        Args:
            container_id: The container.
            networks: Names or ids; with none at all, the default route alone is put right.
            rtnl_fd: An rtnetlink socket of the container's namespace.
            priorities: ``GwPriority`` by network id.
        """
        for network in networks:
            for endpoint in self.endpoints(network=network, container_id=container_id):
                self._links.remove_inside(endpoint, rtnl_fd)
            self.remove_endpoint(container_id, network=network)
        self._departures.drain()
        self._links.route(self.endpoints(container_id=container_id), rtnl_fd, priorities)

    def publish(
        self,
        container_id: str,
        ports: Sequence[PortBinding],
        *,
        name: str = "",
        priorities: Mapping[str, int] = NO_PRIORITIES,
    ) -> tuple[PublishedPort, ...]:
        """Publish ports of a connected container, all or none, beside those it has.

        Raises:
            PortInUseError: A port is taken; the text names the holder.
            KedgeError: A binding is malformed or the kernel refused.
        """
        with self._lock:
            endpoints = self._addresses.active(container_id=container_id)
            # What lies on a wire of the host's is reached there, at every port.
            endpoints = [item for item in endpoints if item.driver not in DRIVERS]
            found = [item for item in endpoints if gateway_versions(item, endpoints, priorities)]
            if not found or not ports:
                return ()
            endpoint = found[0]
            published = self._publisher.publish(endpoint, ports, name or short_id(container_id))
            self._store.put_ports(endpoint.id, published)
            return tuple(published)

    def ports(self, container_id: str) -> tuple[PublishedPort, ...]:
        """Return what a container has published."""
        with self._lock:
            return tuple(
                port
                for endpoint in self._addresses.active(container_id=container_id)
                for port in self._publisher.published(endpoint.id)
            )

    def remove_endpoint(self, container_id: str, *, network: str = "") -> None:
        """Take a container out of its networks, or of one; what is not there is fine.

        The ports are free when this returns. The link goes in the background, and only then are
        the addresses given out again.
        """
        with self._lock:
            network_id = self._catalogue.find(network).id if network else ""
            for endpoint in self._addresses.active(
                network_id=network_id, container_id=container_id
            ):
                self._departures.retire(endpoint)

    def drain(self) -> None:
        """Wait until the links and connections of removed endpoints are gone, addresses free."""
        self._departures.drain()
        self._publisher.drain()

    # The engine's life

    def restore(self, active: Collection[str]) -> RestoreReport:
        """Bring records, bridges, packet filter, claims and links together after a restart.

        Args:
            active: Ids of the containers that run. Everything of others is removed.
        """
        recovery = Recovery(
            store=self._store,
            catalogue=self._catalogue,
            addresses=self._addresses,
            driver=self._driver,
            publisher=self._publisher,
            preparation=self._preparation,
            departures=self._departures,
            upkeep=self._upkeep,
        )
        with self._lock:
            return recovery.restore(active)

    def reconcile(self) -> None:
        """Make the packet filter table anew, for when somebody has flushed it."""
        with self._lock:
            if self._preparation.is_any_live() and not self._is_closed:
                self._publisher.sync()

    def close(self, *, remove: bool = False) -> None:
        """Let go of everything; containers go on working. A second call does nothing.

        Args:
            remove: Take down all this engine made on the host: links, bridges, rules. The
                containers must be gone.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if remove:
                for endpoint in self._addresses.active():
                    self._departures.retire(endpoint)
        self._departures.close()
        self._upkeep.close()
        with self._lock:
            self._publisher.close(remove=remove)
            if remove:
                self._driver.disconnect(self._own_links(self._catalogue.networks()))
            self._kernel.close()

    def _own_links(self, networks: Sequence[Network]) -> list[str]:
        """Return the bridges and parents of networks that are the engine's to remove."""
        return [link for n in networks if n.owns_link and (link := n.bridge or n.parent)]
