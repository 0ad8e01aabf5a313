"""Published ports and the packet filter table, kept in step.

A port has three parts: the claim (a socket), a rule of the packet filter, and a place in the
userland proxy. They are made in this order and undone in reverse. The whole table can be built
again from what is known here, after a crash or after somebody flushed it. Not thread-safe: the
controller locks.
"""

import errno
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kedge.errdefs import KedgeError, SystemFailureError
from kedge.linux.netlink import NetlinkError, Request
from kedge.network import firewall
from kedge.network.ipam import IPAddress
from kedge.network.kernel import HostKernel
from kedge.network.model import Endpoint, Network, PortBinding, PublishedPort
from kedge.network.options import parse_options
from kedge.network.ports import Claim, Claimer
from kedge.network.proxy import Listener, UserlandProxy


@dataclass(slots=True, kw_only=True)
class _Port:
    """A published port with what holds it up."""

    endpoint: Endpoint
    published: PublishedPort
    rule: firewall.PortRule | None
    """None where the packet filter cannot do it (no address of that family in the container)."""
    listener: Listener | None = None
    """None when another program took the port while no engine ran."""


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
        self._bindings: dict[str, str] = {}
        self._ports: dict[str, list[_Port]] = {}
        self._is_table_made = False
        self.has_packet_filter = True
        """Off on a host without nf_tables; then the proxy alone carries published ports."""

    def add_network(self, network: Network) -> None:
        """Take a network's bridge into the packet filter."""
        options = parse_options(network.driver, network.options)
        rule = firewall.BridgeRule(
            bridge=network.bridge,
            subnets=tuple(subnet.network for subnet in network.subnets),
            is_internal=network.is_internal,
            masquerade=options.masquerade,
        )
        # The unspecified address is what is meant without the option: every one, IPv6 as well.
        is_any = options.host_binding in {"", "0.0.0.0"}  # noqa: S104
        self._bindings[network.id] = "" if is_any else options.host_binding
        if self._bridges.get(network.id) == rule:
            return
        is_new = network.id not in self._bridges
        self._bridges[network.id] = rule
        try:
            if self._is_table_made and is_new:
                self._change(firewall.add_bridge(self._table, rule))
            else:
                self.sync()
        except BaseException:
            del self._bridges[network.id]
            raise

    def remove_network(self, network_id: str) -> None:
        """Take a network's bridge out of the packet filter."""
        rule = self._bridges.pop(network_id, None)
        if rule is not None and self._is_table_made:
            self._change(firewall.remove_bridge(self._table, rule))

    def sync(self) -> None:
        """Make the table anew from what is published; one transaction, no gap for packets."""
        rules = [port.rule for port in self._all_ports() if port.rule is not None]
        self._commit(firewall.whole_table(self._table, self._bridges.values(), rules))
        self._is_table_made = self.has_packet_filter

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
        claimer = Claimer(
            target=str(target.ip),
            default_address=self._bindings.get(endpoint.network_id) or self._default_address,
            prefix=f"driver failed programming external connectivity on endpoint {name}: ",
            own_holder=self.holder,
        )
        claims = claimer.claim(bindings)
        ports = [_port(endpoint, claim) for claim in claims]
        try:
            self._change(firewall.add_ports(self._table, _rules(ports)))
        except BaseException:
            for claim in claims:
                claim.socket.close()
            raise
        self._serve(ports, claims)
        self._ports.setdefault(endpoint.id, []).extend(ports)
        return [port.published for port in ports]

    def republish(self, endpoint: Endpoint, published: Sequence[PublishedPort]) -> list[str]:
        """Claim ports again after a restart of the engine; call `sync` afterwards.

        The rules are kept even where the claim fails, so that what worked goes on working.

        Returns:
            One line for each port another program has taken meanwhile.
        """
        problems: list[str] = []
        for item in published:
            claimer = Claimer(target="", own_holder=self.holder)
            wanted = PortBinding(
                protocol=item.protocol,
                container_port=item.container_port,
                host_ip=item.host_ip,
                host_port=item.host_port,
            )
            port = _Port(endpoint=endpoint, published=item, rule=_rule(endpoint, item))
            try:
                claims = claimer.claim([wanted])
            except KedgeError as error:
                problems.append(f"container {self._container_name(endpoint.container_id)}: {error}")
            else:
                self._serve([port], claims)
            self._ports.setdefault(endpoint.id, []).append(port)
        return problems

    def unpublish(self, endpoint_id: str) -> None:
        """Take back an endpoint's ports; they are free for others when this returns."""
        ports = self._ports.pop(endpoint_id, [])
        try:
            self._change(firewall.remove_ports(self._table, _rules(ports)))
        finally:
            for port in ports:
                if port.listener is not None:
                    self._proxy.remove(port.listener)

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

    def close(self, *, remove: bool) -> None:
        """Give up the claims; with ``remove`` take the table down, else leave the rules."""
        self._proxy.close()
        if remove:
            self._commit(firewall.remove_table(self._table))
            self._is_table_made = False

    def _all_ports(self) -> Iterable[_Port]:
        return (port for ports in self._ports.values() for port in ports)

    def _serve(self, ports: Sequence[_Port], claims: Sequence[Claim]) -> None:
        for port, claim in zip(ports, claims, strict=True):
            target = _target(port.endpoint, claim.host_address.version)
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
            raise SystemFailureError(
                f"cannot change the packet filter: {error.strerror}"
            ) from error


def _port(endpoint: Endpoint, claim: Claim) -> _Port:
    published = PublishedPort(
        protocol=claim.protocol,
        container_port=claim.container_port,
        host_ip=str(claim.host_address),
        host_port=claim.host_port,
    )
    return _Port(endpoint=endpoint, published=published, rule=_rule(endpoint, published))


def _rule(endpoint: Endpoint, port: PublishedPort) -> firewall.PortRule | None:
    address = ipaddress.ip_address(port.host_ip)
    target = _target(endpoint, address.version)
    if target.version != address.version:
        return None
    return firewall.PortRule(
        protocol=port.protocol,
        host_address=address,
        host_port=port.host_port,
        target=target,
        target_port=port.container_port,
    )


def _rules(ports: Iterable[_Port]) -> list[firewall.PortRule]:
    return [port.rule for port in ports if port.rule is not None]


def _target(endpoint: Endpoint, version: int) -> IPAddress:
    """Return the container's address of this family, or the one it has."""
    wanted, other = (
        (endpoint.ipv4, endpoint.ipv6) if version == 4 else (endpoint.ipv6, endpoint.ipv4)
    )
    chosen = wanted or other
    if chosen is None:
        raise SystemFailureError(f"endpoint {endpoint.id[:12]} has no address to publish")
    return chosen.ip
