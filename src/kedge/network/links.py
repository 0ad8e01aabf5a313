"""Links of endpoints: made, named, tuned and configured in a container's namespace.

Chooses the driver and the interface's name; what a driver asks the kernel for is in `bridge` and
`parents`. Which interface has the default routes is said in `gateway`.
"""

import contextlib
import errno
import itertools
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from kedge.errdefs import ConflictError, InvalidParameterError, SystemFailureError
from kedge.lib.ids import short_id
from kedge.linux.netlink import NetlinkError
from kedge.network.bridge import BridgeDriver, LiveBridge
from kedge.network.catalogue import NetworkCatalogue
from kedge.network.gateway import gateway_versions
from kedge.network.kernel import HostKernel
from kedge.network.model import Driver, Endpoint, Network
from kedge.network.options import parse_options
from kedge.network.parents import DRIVERS, ParentDriver
from kedge.network.preparation import HostPreparation

NO_PRIORITIES: Final[Mapping[str, int]] = {}


class EndpointLinks:
    """Makes the links of endpoints; takes the controller's lock only to look things up."""

    def __init__(
        self,
        kernel: HostKernel,
        lock: threading.RLock,
        *,
        catalogue: NetworkCatalogue,
        preparation: HostPreparation,
        driver: BridgeDriver,
        parents: ParentDriver,
    ) -> None:
        """Work on the parts the controller is made of."""
        self._kernel = kernel
        self._lock = lock
        self._catalogue = catalogue
        self._preparation = preparation
        self._driver = driver
        self._parents = parents

    def connect(
        self,
        endpoints: Sequence[Endpoint],
        *,
        netns_fd: int,
        rtnl_fd: int,
        priorities: Mapping[str, int],
    ) -> None:
        """Make and configure all links of a container that has none yet.

        Raises:
            KedgeError: The kernel refused, or a name is taken.
        """
        taken: set[str] = set()
        for endpoint in endpoints:
            ifname = self._interface_name(endpoint, taken)
            taken.add(ifname)
            if endpoint.link:
                self._link(endpoint, netns_fd=netns_fd, ifname=ifname)
                self._tune(endpoint, netns_fd=netns_fd, rtnl_fd=rtnl_fd, ifname=ifname)
            if endpoint.driver is not Driver.HOST:
                versions = gateway_versions(endpoint, endpoints, priorities)
                self._driver.configure(endpoint, rtnl_fd, ifname=ifname, gateway_for=versions)

    def join(
        self,
        endpoint: Endpoint,
        siblings: Sequence[Endpoint],
        *,
        netns_fd: int,
        rtnl_fd: int,
        priorities: Mapping[str, int],
    ) -> None:
        """Make and configure one more link of a container that runs.

        Args:
            endpoint: The new one.
            siblings: All of the container, it included.
            netns_fd: The container's network namespace.
            rtnl_fd: An rtnetlink socket of it.
            priorities: ``GwPriority`` by network id.

        Raises:
            KedgeError: The kernel refused, or a name is taken.
        """
        ifname = self._interface_name(endpoint, self._driver.names_in(rtnl_fd))
        if endpoint.link:
            self._link(endpoint, netns_fd=netns_fd, ifname=ifname)
            self._tune(endpoint, netns_fd=netns_fd, rtnl_fd=rtnl_fd, ifname=ifname)
        versions = gateway_versions(endpoint, siblings, priorities)
        self._driver.configure(endpoint, rtnl_fd, ifname=ifname, gateway_for=versions)

    def remove_inside(self, endpoint: Endpoint, rtnl_fd: int) -> None:
        """Remove the link of an endpoint on a wire of the host's, which only its container has."""
        if endpoint.driver in DRIVERS:
            link = self._driver.try_link_of(endpoint, rtnl_fd)
            if link is not None:
                self._parents.remove_inside(rtnl_fd, link.ifindex)

    def route(
        self, endpoints: Sequence[Endpoint], rtnl_fd: int, priorities: Mapping[str, int]
    ) -> None:
        """Give the links of a running container the default routes that are due to them."""
        for endpoint in endpoints:
            versions = gateway_versions(endpoint, endpoints, priorities)
            if versions:
                self._driver.route_through(endpoint, rtnl_fd, versions)

    def _interface_name(self, endpoint: Endpoint, taken: Collection[str]) -> str:
        """Return what an endpoint's link is called in the container.

        Raises:
            ConflictError: The name asked for is another link's.
        """
        wanted = endpoint.extras.ifname
        if wanted in taken:
            raise ConflictError(
                f"error renaming interface to {wanted}: the container has a link of that name"
            )
        if wanted:
            return wanted
        with self._lock:
            network = self._catalogue.find(endpoint.network_id)
        prefix = parse_options(network.driver, network.options).prefix
        return next(name for n in itertools.count() if (name := f"{prefix}{n}") not in taken)

    def _tune(self, endpoint: Endpoint, *, netns_fd: int, rtnl_fd: int, ifname: str) -> None:
        """Set a new link's switches; bring up what may have to wait for its predecessor.

        On a wire of the host's somebody may advertise addresses, so without IPv6 in the network the
        link must not have it at all. Where ``/proc/sys`` is read-only, or the kernel has no IPv6,
        it is left as it is.
        """
        own = (endpoint.ipv6, *endpoint.extras.link_local)
        if endpoint.driver in DRIVERS and not any(
            item is not None and item.version == 6 for item in own
        ):
            with contextlib.suppress(InvalidParameterError):
                self._kernel.set_sysctls_in(netns_fd, [(f"ipv6/conf/{ifname}/disable_ipv6", "1")])
        if endpoint.extras.sysctls:
            self._kernel.set_sysctls_in(
                netns_fd,
                [(name.replace("IFNAME", ifname), v) for name, v in endpoint.extras.sysctls],
            )
        if endpoint.driver is Driver.MACVLAN:
            self._parents.bring_up(rtnl_fd, ifname)

    def _connect_link(
        self,
        endpoint: Endpoint,
        network: Network,
        live: LiveBridge,
        *,
        netns_fd: int,
        ifname: str,
    ) -> None:
        driver = self._parents if network.driver in DRIVERS else self._driver
        driver.connect(endpoint, network, live, netns_fd=netns_fd, ifname=ifname)

    def _link(self, endpoint: Endpoint, *, netns_fd: int, ifname: str) -> None:
        """Make an endpoint's link; if its bridge has been removed behind our back, that first."""
        for attempt in (1, 2):
            with self._lock:
                network = self._preparation.ensure_live(self._catalogue.find(endpoint.network_id))
                live = self._preparation.bridge(network.id)
            try:
                self._connect_link(endpoint, network, live, netns_fd=netns_fd, ifname=ifname)
            except NetlinkError as error:
                if attempt == 1 and error.errno in {errno.ENODEV, errno.EINVAL}:
                    with self._lock:
                        self._preparation.forget(network.id)
                    continue
                raise SystemFailureError(
                    f"cannot connect container {short_id(endpoint.container_id)} "
                    f"to network {network.name}: {error.strerror}"
                ) from error
            else:
                return
