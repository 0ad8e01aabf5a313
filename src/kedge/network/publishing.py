"""Published ports and the packet filter table, kept in step.

A port has three parts: the claim (a socket), a rule of the packet filter, and a place in the
userland proxy. They are made in this order and undone in reverse; in a routed network there is
only the rule. The guard over the links' addresses shares the table's fate. The whole can be built
again from what is known here, after a crash or after somebody flushed it. Not thread-safe: the
controller locks.
"""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kedge.errdefs import KedgeError, NotSupportedError, SystemFailureError
from kedge.linux.conntrack import Flows
from kedge.linux.netlink import NetlinkError, Request
from kedge.network import firewall
from kedge.network.batches import Batches
from kedge.network.bridge import bridge_interfaces
from kedge.network.ipam import IPAddress
from kedge.network.kernel import HostKernel
from kedge.network.model import (
    Endpoint,
    Network,
    PortBinding,
    PublishedPort,
)
from kedge.network.options import LinkOptions, parse_options
from kedge.network.portplan import (
    address_family,
    check_routed,
    is_bridged,
    link_rule,
    port_rule,
    routed_addresses,
    target_address,
    translated_versions,
    wanted_version,
)
from kedge.network.ports import Claim, Claimer
from kedge.network.proxy import Listener, UserlandProxy
from kedge.network.spoofing import LinkGuard

# The kernel looks through all connections it tracks for one answer, 15 ms of it on a host with the
# usual table, so requests that come together share a look, and what nobody waits for (connections
# that a container without ports has made itself) waits for the next one, up to this many.
_FLOWS_WAITING_MAX: Final = 512


@dataclass(slots=True, kw_only=True)
class _Port:
    """A published port with what holds it up."""

    endpoint: Endpoint
    published: PublishedPort
    rule: firewall.AnyPort | None
    """None where the packet filter cannot do it (no address of that family in the container)."""
    listener: Listener | None = None
    """None when another program took the port while no engine ran, and where nothing is proxied."""
    held: socket.socket | None = None
    """What claims a port that the proxy does not serve."""


class PortPublisher:
    """Publishes ports and owns the engine's table."""

    def __init__(
        self,
        kernel: HostKernel,
        table: str,
        *,
        default_address: str,
        container_name: Callable[[str], str],
    ) -> None:
        """Publish through ``table``; nothing is touched before the first `sync` or `add_network`.

        Args:
            kernel: The host's kernel.
            table: Name of the engine's nf_tables table.
            default_address: Host address of bindings that name none; empty for all.
            container_name: Returns what people call a container, from its id.
        """
        self._kernel = kernel
        self._table = table
        self._default_address = default_address
        self._container_name = container_name
        self._proxy = UserlandProxy()
        self._bridges: dict[str, firewall.BridgeRule] = {}
        self._options: dict[str, LinkOptions] = {}
        self._guard = LinkGuard(table)
        self._flows = Batches(
            "kedge-network-flows", kernel.forget_flows, patience=_FLOWS_WAITING_MAX
        )
        self._had_ports: set[str] = set()
        self._ports: dict[str, list[_Port]] = {}
        self._is_table_made = False
        self.has_packet_filter = True
        """Off on a host without nf_tables; then the proxy alone carries published ports."""
        self.can_guard = True
        """Off where the kernel cannot filter what a bridge forwards."""

    def add_network(self, network: Network) -> None:
        """Take a network's bridge into the packet filter."""
        options = parse_options(network.driver, network.options)
        rule = firewall.BridgeRule(
            bridge=network.bridge,
            subnets=tuple(subnet.network for subnet in network.subnets),
            gateways=tuple(subnet.gateway for subnet in network.subnets),
            hosts=tuple(item.ip for item in bridge_interfaces(network)),
            is_internal=network.is_internal,
            masquerade=options.masquerade,
            sources=options.sources,
            trusted=options.trusted,
            mode4=options.mode4,
            mode6=options.mode6,
        )
        self._options[network.id] = options
        old = self._bridges.get(network.id)
        if old == rule:
            return
        if old is not None:
            self._guard.release(old.gateways)
        self._bridges[network.id] = rule
        reserved = self._guard.reserve(rule.gateways)
        try:
            if self._is_table_made and old is None:
                self._change(firewall.add_bridge(self._table, rule) + self._guarding(reserved))
            else:
                self.sync()
        except BaseException:
            del self._bridges[network.id]
            self._guard.release(rule.gateways)
            raise

    def remove_network(self, network_id: str) -> None:
        """Take a network's bridge out of the packet filter."""
        self._options.pop(network_id, None)
        rule = self._bridges.pop(network_id, None)
        if rule is None:
            return
        released = self._guard.release(rule.gateways)
        if self._is_table_made:
            self._change(firewall.remove_bridge(self._table, rule) + self._guarding(released))

    def guard(self, endpoints: Iterable[Endpoint]) -> None:
        """Keep others from the addresses of endpoints, and their links from those of others.

        Raises:
            SystemFailureError: The kernel refused; nothing has changed.
        """
        rules = [link_rule(item) for item in endpoints if item.link and is_bridged(item)]
        requests = self._guard.add(rules)
        if not self._is_table_made:
            return
        try:
            self._change(self._guarding(requests))
        except BaseException:
            self._guard.remove(rule.link for rule in rules)
            raise

    def _forget_flows(self, ports: Iterable[_Port]) -> None:
        """Have clients reach new UDP ports that have been sending to them already.

        They would otherwise be led to the address of a container that is no more, for as long as
        they send.
        """
        wanted = {
            Flows(
                address_family(version),
                protocol=firewall.PROTOCOLS["udp"],
                target_port=port.host_port,
            )
            for item in ports
            if (port := item.published).protocol == "udp"
            for version in [ipaddress.ip_address(port.host_ip).version]
        }
        if wanted and self.has_packet_filter:
            self._flows.submit(sorted(wanted), soon=True)

    def unguard(self, endpoint: Endpoint) -> None:
        """Give an endpoint's addresses up; its link is gone, and so are its connections."""
        if self.has_packet_filter and is_bridged(endpoint):
            flows = [
                Flows(address_family(item.version), item.ip.packed, is_reply)
                for item in (endpoint.ipv4, endpoint.ipv6)
                if item is not None
                for is_reply in (False, True)
            ]
            self._flows.submit(flows, soon=endpoint.id in self._had_ports)
        self._had_ports.discard(endpoint.id)
        requests = self._guard.remove([endpoint.link])
        if self._is_table_made:
            self._change(self._guarding(requests))

    def sync(self) -> None:
        """Make the table anew from what is published; one transaction, no gap for packets."""
        rules = [port.rule for port in self._all_ports() if port.rule is not None]
        guard = self._guard if self.can_guard else None
        self._commit(firewall.whole_table(self._table, self._bridges.values(), rules, guard))
        self._is_table_made = self.has_packet_filter

    def _guarding(self, requests: list[Request]) -> list[Request]:
        return requests if self.can_guard else []

    def publish(
        self, endpoint: Endpoint, bindings: Sequence[PortBinding], name: str
    ) -> list[PublishedPort]:
        """Publish ports of an endpoint, all or none.

        Args:
            endpoint: Where the traffic goes.
            bindings: What to publish.
            name: The container's name, for messages.

        Raises:
            PortInUseError: A port is taken; the text names the holder.
            KedgeError: Another reason; the text begins with Docker's.
        """
        target = endpoint.ipv4 or endpoint.ipv6
        if target is None or not bindings:
            return []
        if not self.has_packet_filter and any(item.protocol == "sctp" for item in bindings):
            raise NotSupportedError(
                "sctp ports cannot be published: this host has no packet filter (nf_tables), "
                "and the userland proxy carries tcp and udp only"
            )
        options = self._options.get(endpoint.network_id, LinkOptions())
        ports = self._open_ports(endpoint, bindings, options)
        versions = translated_versions(endpoint, options)
        default = options.published_on or self._default_address
        claimer = Claimer(
            target=str(target.ip),
            default_address=default if 4 in versions else "",
            prefix=f"driver failed programming external connectivity on endpoint {name}: ",
            own_holder=self.holder,
            versions=versions,
        )
        wanted = [item for item in bindings if wanted_version(item) in versions | {0}]
        claims = claimer.claim(wanted) if versions else []
        translated = [_port(endpoint, claim, options) for claim in claims]
        ports += translated
        try:
            self._change(firewall.add_ports(self._table, _rules(ports)))
        except BaseException:
            for claim in claims:
                claim.close()
            raise
        self._forget_flows(translated)
        self._serve(translated, claims)
        self._ports.setdefault(endpoint.id, []).extend(ports)
        return [port.published for port in ports]

    def _open_ports(
        self, endpoint: Endpoint, bindings: Sequence[PortBinding], options: LinkOptions
    ) -> list[_Port]:
        """Return the ports that are reached by the container's own addresses.

        Raises:
            InvalidParameterError: One is wanted on an address of the host.
        """
        known = set(self.published(endpoint.id))
        found: dict[PublishedPort, _Port] = {}
        for binding in bindings:
            for address in routed_addresses(endpoint, options):
                check_routed(binding, address.version, endpoint.network_name)
                published = PublishedPort(
                    protocol=binding.protocol,
                    container_port=binding.container_port,
                    host_ip="0.0.0.0" if address.version == 4 else "::",  # noqa: S104
                    host_port=0,
                )
                if published not in known:
                    rule = port_rule(endpoint, published, options)
                    found[published] = _Port(endpoint=endpoint, published=published, rule=rule)
        return list(found.values())

    def republish(self, endpoint: Endpoint, published: Sequence[PublishedPort]) -> list[str]:
        """Claim ports again after a restart of the engine; call `sync` afterwards.

        The rules are kept even where the claim fails, so that what worked goes on working.

        Returns:
            One line for each port another program has taken meanwhile.
        """
        problems: list[str] = []
        options = self._options.get(endpoint.network_id, LinkOptions())
        for item in published:
            claimer = Claimer(target="", own_holder=self.holder)
            wanted = PortBinding(
                protocol=item.protocol,
                container_port=item.container_port,
                host_ip=item.host_ip,
                host_port=item.host_port,
            )
            rule = port_rule(endpoint, item, options)
            port = _Port(endpoint=endpoint, published=item, rule=rule)
            try:
                claims = claimer.claim([wanted]) if item.host_port else []
            except KedgeError as error:
                problems.append(f"container {self._container_name(endpoint.container_id)}: {error}")
            else:
                self._serve([port] if claims else [], claims)
            self._ports.setdefault(endpoint.id, []).append(port)
        return problems

    def unpublish(self, endpoint_id: str) -> None:
        """Take back an endpoint's ports; they are free for others when this returns."""
        ports = self._ports.pop(endpoint_id, [])
        if ports:
            self._had_ports.add(endpoint_id)
        try:
            self._change(firewall.remove_ports(self._table, _rules(ports)))
        finally:
            for port in ports:
                if port.listener is not None:
                    self._proxy.remove(port.listener)
                if port.held is not None:
                    port.held.close()

    def published(self, endpoint_id: str) -> list[PublishedPort]:
        """Return an endpoint's published ports."""
        return [port.published for port in self._ports.get(endpoint_id, [])]

    def holder(self, protocol: str, address: IPAddress, port: int) -> str:
        """Return the name of this engine's container that has a port; empty for none."""
        for other in self._all_ports():
            published = other.published
            if published.protocol != protocol or published.host_port != port:
                continue
            theirs = ipaddress.ip_address(published.host_ip)
            if theirs.version == address.version and (
                theirs == address or theirs.is_unspecified or address.is_unspecified
            ):
                return self._container_name(other.endpoint.container_id)
        return ""

    def drain(self) -> None:
        """Wait until the connections of ports that are gone are forgotten."""
        self._flows.drain()

    def close(self, *, remove: bool) -> None:
        """Give up the claims; with ``remove`` take the table down, else leave the rules."""
        self._flows.close()
        self._proxy.close()
        for port in self._all_ports():
            if port.held is not None:
                port.held.close()
        if remove:
            self._commit(firewall.remove_table(self._table, guarded=self.can_guard))
            self._is_table_made = False

    def _all_ports(self) -> Iterable[_Port]:
        return (port for ports in self._ports.values() for port in ports)

    def _serve(self, ports: Sequence[_Port], claims: Sequence[Claim]) -> None:
        for port, claim in zip(ports, claims, strict=True):
            if claim.socket is None or claim.protocol == "sctp":
                port.held = claim.socket
                continue
            target = target_address(port.endpoint, claim.host_address.version)
            port.listener = self._proxy.add(claim.socket, (str(target), claim.container_port))

    def _change(self, requests: list[Request]) -> None:
        """Commit a small change; make the whole table where it turns out to be gone or stale."""
        if not requests or not self.has_packet_filter:
            return
        try:
            self._commit(requests)
        except SystemFailureError as error:
            cause = error.__cause__
            if not isinstance(cause, NetlinkError) or cause.errno not in {
                errno.ENOENT,
                errno.EEXIST,
            }:
                raise
            # Somebody flushed our table or changed our sets. First what we know, then the change:
            # a removal is already part of what we know, and an addition is not.
            self.sync()
            if cause.what.startswith("add"):
                self._commit(requests)

    def _commit(self, requests: list[Request]) -> None:
        if not self.has_packet_filter:
            return
        try:
            self._kernel.commit(requests)
        except NetlinkError as error:
            hint = "; the engine needs CAP_NET_ADMIN" if error.errno == errno.EPERM else ""
            raise SystemFailureError(
                f"cannot change the packet filter: {error.strerror}{hint}"
            ) from error


def _port(endpoint: Endpoint, claim: Claim, options: LinkOptions) -> _Port:
    published = PublishedPort(
        protocol=claim.protocol,
        container_port=claim.container_port,
        host_ip=str(claim.host_address),
        host_port=claim.host_port,
    )
    rule = port_rule(endpoint, published, options)
    return _Port(endpoint=endpoint, published=published, rule=rule)


def _rules(ports: Iterable[_Port]) -> list[firewall.AnyPort]:
    return [port.rule for port in ports if port.rule is not None]
