"""The bridge driver: a bridge per network, a veth pair per endpoint.

The plans are pure lists of requests; `BridgeDriver` executes them and undoes what it began. The
container's end is configured through an rtnetlink socket the shim opened inside the container's
namespace, so nobody here ever enters it.
"""

import contextlib
import errno
import ipaddress
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from kedge.errdefs import ConflictError, SystemFailureError
from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.netlink import NetlinkError, Request
from kedge.network.ipam import IPNetwork
from kedge.network.kernel import HostKernel
from kedge.network.model import Endpoint, IPInterface, Network
from kedge.network.options import parse_options

MTU_DEFAULT: Final = 1500
_DEFAULT4: Final = ipaddress.IPv4Network("0.0.0.0/0")
_DEFAULT6: Final = ipaddress.IPv6Network("::/0")
# Routes that say nothing about where a private network may lie.
_EVERYWHERE: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBridge:
    """A network's bridge as it stands on the host."""

    ifindex: int
    mtu: int


def host_networks(routes: Sequence[ra.Route], *, ignore: Collection[int] = ()) -> list[IPNetwork]:
    """Return the networks the host has routes to, apart from the default route.

    Args:
        routes: The host's routes.
        ignore: Links whose routes do not count, such as a network's own bridge.
    """
    return [
        route.destination
        for route in routes
        if route.destination.prefixlen != _EVERYWHERE
        and route.kind == ra.RTN_UNICAST
        and route.ifindex not in ignore
        and not route.destination.is_link_local
        and not route.destination.is_multicast
    ]


def uplink_mtu(routes: Sequence[ra.Route], links: Sequence[rt.Link]) -> int:
    """Return the MTU of the default route's link.

    A bridge with a larger one than the way out would lose big packets wherever the ICMP that
    should say so is filtered.
    """
    defaults = [
        route
        for route in routes
        if route.destination == _DEFAULT4 and route.table == ra.RT_TABLE_MAIN and route.ifindex
    ]
    by_index = {link.ifindex: link for link in links}
    for route in sorted(defaults, key=lambda route: route.priority):
        link = by_index.get(route.ifindex)
        if link is not None:
            return link.mtu
    return MTU_DEFAULT


def advertised_links(routes: Sequence[ra.Route], links: Sequence[rt.Link]) -> set[str]:
    """Return the names of links with a route learned from an IPv6 router advertisement."""
    names = {link.ifindex: link.name for link in links}
    return {
        names[route.ifindex]
        for route in routes
        if route.protocol == ra.RTPROT_RA and route.ifindex in names
    }


def sandbox_requests(
    endpoint: Endpoint, ifindex: int, *, gateway_for: Collection[int]
) -> list[Request]:
    """Return what configures the container's end: loopback, link, addresses, default routes.

    Args:
        endpoint: The endpoint.
        ifindex: Index of its link inside the container.
        gateway_for: The IP versions whose default route goes through this network.
    """
    requests = [rt.set_link(rt.LOOPBACK_INDEX, up=True)]
    interfaces = (endpoint.ipv4, endpoint.ipv6, *endpoint.extras.link_local)
    requests += [ra.new_address(ifindex, item) for item in interfaces if item is not None]
    requests.append(rt.set_link(ifindex, up=True))
    return requests + default_routes(endpoint, ifindex, gateway_for)


def default_routes(endpoint: Endpoint, ifindex: int, versions: Collection[int]) -> list[Request]:
    """Return what makes the endpoint's gateways the default ones, in place of any other."""
    return [
        ra.new_route(everywhere, ifindex=ifindex, gateway=gateway)
        for version, everywhere, gateway in (
            (4, _DEFAULT4, endpoint.gateway4),
            (6, _DEFAULT6, endpoint.gateway6),
        )
        if version in versions and (gateway is not None or endpoint.extras.is_on_link)
    ]


def bridge_interfaces(network: Network) -> list[IPInterface]:
    """Return the addresses the bridge itself has: the network's gateways."""
    options = parse_options(network.driver, network.options)
    missing = options.no_gateway | (frozenset({4}) if options.inhibit_ipv4 else frozenset[int]())
    return [
        ipaddress.ip_interface(f"{subnet.gateway}/{subnet.network.prefixlen}")
        for subnet in network.subnets
        if subnet.network.version not in missing
    ]


class BridgeDriver:
    """Makes bridges and links."""

    def __init__(self, kernel: HostKernel, *, mtu: int = 0) -> None:
        """Work on ``kernel``; ``mtu`` overrides that of the default route's link."""
        self._kernel = kernel
        self._mtu = mtu

    def ensure(self, network: Network, uplink: int) -> LiveBridge:
        """Make the network's bridge exist, up, with exactly its addresses.

        Args:
            network: The network.
            uplink: MTU of the way out.

        Raises:
            ConflictError: A link of that name is no bridge.
            SystemFailureError: The kernel refuses.
        """
        mtu = parse_options(network.driver, network.options).mtu or self._mtu or uplink
        link = self._kernel.try_link(network.bridge)
        try:
            if link is None:
                mac = "02:42:" + os.urandom(4).hex(":")
                self._kernel.batch([rt.new_bridge(network.bridge, mac=mac, mtu=mtu)])
                link = self._kernel.try_link(network.bridge)
                if link is None:
                    raise SystemFailureError(f"bridge {network.bridge} vanished while it was made")
                present: set[IPInterface] = set()
            else:
                if link.kind != "bridge":
                    raise ConflictError(
                        f"cannot use link {network.bridge} for network {network.name}: "
                        "it is not a bridge; remove it or choose another name with --bridge"
                    )
                present = {
                    item.interface
                    for item in self._kernel.addresses()
                    if item.ifindex == link.ifindex and not item.interface.ip.is_link_local
                }
            wanted = set(bridge_interfaces(network))
            # A bridge that was there before is somebody's: his addresses stay.
            surplus = present - wanted if network.owns_link else set[IPInterface]()
            requests = [ra.delete_address(link.ifindex, item) for item in surplus]
            requests += [ra.new_address(link.ifindex, item) for item in wanted - present]
            requests.append(rt.set_link(link.ifindex, up=True, mtu=mtu))
            # Connections to 127.0.0.1 that are published leave through the bridge (see firewall).
            requests.append(rt.set_route_localnet(link.ifindex))
            self._switch_ipv6(network)
            self._kernel.batch(requests)
        except NetlinkError as error:
            raise _explain(error, f"set up bridge {network.bridge}") from error
        return LiveBridge(ifindex=link.ifindex, mtu=mtu)

    def connect(
        self, endpoint: Endpoint, network: Network, live: LiveBridge, *, netns_fd: int, ifname: str
    ) -> None:
        """Make the pair of links, one end a port of the bridge, the other in the container.

        Raises:
            NetlinkError: The kernel refuses; nothing is left behind.
        """
        peer = rt.VethPeer(ifname, netns_fd, endpoint.mac)
        is_isolated = parse_options(network.driver, network.options).is_isolated
        requests = [
            rt.new_veth(endpoint.link, peer, mtu=live.mtu, master=live.ifindex),
            rt.set_bridge_port(endpoint.link, hairpin=True, isolated=is_isolated),
        ]
        try:
            self._kernel.batch(requests)
        except NetlinkError as error:
            if error.errno == errno.EEXIST and error.what == requests[0].what:
                # Left by an engine that was killed at this very place.
                self._kernel.batch([rt.delete_link(endpoint.link)])
                self._kernel.batch(requests)
                return
            if error.what != requests[0].what:
                self.disconnect([endpoint.link])
            raise

    def configure(
        self, endpoint: Endpoint, rtnl_fd: int, *, ifname: str, gateway_for: Collection[int]
    ) -> None:
        """Give the container's end its addresses and, for some IP versions, the default route.

        Raises:
            SystemFailureError: The kernel refuses; the link is still there.
        """
        try:
            if endpoint.link:
                ifindex = self._kernel.link_in(rtnl_fd, ifname).ifindex
                if endpoint.ipv6 is None:
                    self._leave_out_ipv6(rtnl_fd, ifindex)
                requests = sandbox_requests(endpoint, ifindex, gateway_for=gateway_for)
            else:
                requests = [rt.set_link(rt.LOOPBACK_INDEX, up=True)]
            self._kernel.batch_in(rtnl_fd, requests)
        except NetlinkError as error:
            raise _explain(error, f"configure {ifname} in the container") from error

    def _leave_out_ipv6(self, rtnl_fd: int, ifindex: int) -> None:
        """On a network without IPv6 nobody is reached by it, nor asked for routers."""
        try:
            self._kernel.batch_in(rtnl_fd, [rt.set_no_link_local(ifindex)])
        except NetlinkError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise

    def route_through(self, endpoint: Endpoint, rtnl_fd: int, versions: Collection[int]) -> None:
        """Move a running container's default routes to one of its networks.

        Raises:
            SystemFailureError: The kernel refuses.
        """
        try:
            link = self.try_link_of(endpoint, rtnl_fd)
            if link is not None:
                self._kernel.batch_in(rtnl_fd, default_routes(endpoint, link.ifindex, versions))
        except NetlinkError as error:
            raise _explain(error, "move the container's default route") from error

    def names_in(self, rtnl_fd: int) -> set[str]:
        """Return the names of the container's links.

        Raises:
            SystemFailureError: The kernel refuses to tell.
        """
        try:
            return {link.name for link in self._kernel.links_in(rtnl_fd)}
        except NetlinkError as error:
            raise _explain(error, "list the container's links") from error

    def try_link_of(self, endpoint: Endpoint, rtnl_fd: int) -> rt.Link | None:
        """Return an endpoint's link in the container, by its MAC address or its IP address.

        Raises:
            NetlinkError: The kernel refuses to tell.
        """
        links = self._kernel.links_in(rtnl_fd)
        if endpoint.mac:
            return next((link for link in links if link.mac == endpoint.mac), None)
        own = {endpoint.ipv4, endpoint.ipv6}
        indexes = {a.ifindex for a in self._kernel.addresses_in(rtnl_fd) if a.interface in own}
        return next((link for link in links if link.ifindex in indexes), None)

    def disconnect(self, links: Sequence[str]) -> None:
        """Remove links, and with each its other end; one that is gone already is fine.

        Raises:
            NetlinkError: The kernel refuses.
        """
        if len(links) == 1:
            self._remove(rt.delete_link(links[0]))
            return
        # Each removal makes the kernel wait some 20 ms; a group is removed with a single wait.
        present = self._kernel.links()
        leaving = [link for link in present if link.name in links]
        groups = {link.group for link in present}
        group = 0
        while group in groups or not group:
            group = int.from_bytes(os.urandom(4), "big")
        for link in leaving:
            self._remove(rt.set_link_group(link.ifindex, group))
        if leaving:
            self._remove(rt.delete_link_group(group))

    def _remove(self, request: Request) -> None:
        try:
            self._kernel.remove([request])
        except NetlinkError as error:
            if error.errno not in {errno.ENODEV, errno.ESRCH}:
                raise

    def orphans(self, bridges: Collection[str], known: Collection[str]) -> list[str]:
        """Return the veths on our bridges that no endpoint accounts for."""
        links = self._kernel.links()
        ours = {link.ifindex for link in links if link.name in bridges and link.kind == "bridge"}
        return [
            link.name
            for link in links
            if link.master in ours and link.kind == "veth" and link.name not in known
        ]

    def _switch_ipv6(self, network: Network) -> None:
        """Make the bridge a router among its containers, not a host; without IPv6, nothing at all.

        No default route of theirs, and no two seconds of duplicate detection before it may ask
        for a neighbour's address. A bridge of IPv4 must not have a link-local address by which
        the host's services on ``::`` are reached. Where ``/proc/sys`` is read-only it works
        without.
        """
        wanted: dict[str, str] = {}
        if network.enable_ipv6:
            wanted = {"disable_ipv6": "0", "accept_ra": "0", "accept_dad": "0"}
        elif network.owns_link:
            wanted = {"disable_ipv6": "1"}
        for name, value in wanted.items():
            switch = f"ipv6/conf/{network.bridge}/{name}"
            with contextlib.suppress(SystemFailureError):
                self._kernel.ensure_sysctl(switch, value)


def _explain(error: NetlinkError, action: str) -> SystemFailureError:
    hint = ""
    if error.errno in {errno.EPERM, errno.EACCES}:
        hint = "; the engine needs CAP_NET_ADMIN"
    elif error.errno == errno.EOPNOTSUPP:
        hint = "; this kernel has no bridge or veth driver, use --network host or none"
    return SystemFailureError(f"cannot {action}: {error.strerror}{hint}")
