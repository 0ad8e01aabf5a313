"""Containers' names in the embedded name server, and its sockets: set up, taken up again, let go.

What a container is called in a network is in its record (`EndpointSettings.dns_names`); here it
becomes what others can resolve. Vocabulary: `kedge.network.dns`.
"""

import contextlib
import ipaddress
import os
import socket
from functools import partial

from kedge.api.types.config import EndpointSettings
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.links import parse_link
from kedge.engine.ports import parse_port, published_ports
from kedge.errdefs import KedgeError, NotFoundError, SystemFailureError
from kedge.linux.netlink import NetlinkError
from kedge.linux.nftables import NftablesSocket
from kedge.network.dns.names import Member, make_names
from kedge.network.dns.redirect import PORT, redirect_requests
from kedge.shim.client import Shim
from kedge.shim.namesockets import ANY_PORT, NO_NAME_SERVER


class ContainerNames:
    """Makes containers known by name to each other."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s name server."""
        self._context = context

    def has_server(self, container: Container) -> bool:
        """Whether the container asks the embedded name server."""
        mode = container.record.host_config.network_mode
        return mode not in {"host", "none"} and not mode.startswith("container:")

    def port(self, container: Container) -> int:
        """Return where the shim is to open the server's sockets, as its request says it."""
        if not self.has_server(container):
            return NO_NAME_SERVER
        # Without a packet filter nothing can be redirected, and port 53 has to be the port itself.
        return ANY_PORT if self._context.network.has_packet_filter() else PORT

    async def serve(self, container: Container, shim: Shim) -> None:
        """Answer the questions of a container that is being started.

        Raises:
            SystemFailureError: The kernel refuses the redirection.
        """
        if not shim.name_fds:
            return
        datagrams, streams, *packet_filter = shim.name_fds
        shim.name_fds = tuple(packet_filter)
        self._add(container, (datagrams, streams))
        for descriptor in packet_filter:
            redirect = partial(_redirect, descriptor, (datagrams, streams), container.name)
            await self._context.run_blocking(redirect)

    async def take_up(self, container: Container, shim: Shim) -> None:
        """Answer the questions of a container an earlier engine has started.

        They may have waited for this moment, so every name has to be known by now.
        """
        if not self.has_server(container):
            return
        with contextlib.suppress(KedgeError):
            self._add(container, await shim.open_names())

    def publish(self, container: Container) -> None:
        """Make the container known in all its networks, under the names it has now."""
        names, record = self._context.names, container.record
        for name, settings in record.networks.items():
            member = self._member(container, name, settings)
            if member is not None:
                names.add(member)
        names.set_links(record.id, self._links(container))

    def withdraw(self, container: Container, network_id: str = "") -> None:
        """Make the container unknown, in one network or for good."""
        self._context.names.remove(container.id, network_id)
        if not network_id:
            self._context.name_server.remove(container.id)

    def _add(self, container: Container, descriptors: tuple[int, int]) -> None:
        servers = container.record.host_config.dns or self._context.settings.dns
        self._context.name_server.add(container.id, descriptors, tuple(servers))

    def _member(self, container: Container, name: str, settings: EndpointSettings) -> Member | None:
        record = container.record
        addresses = [item for item in (settings.ip_address, settings.global_ipv6_address) if item]
        network = self._context.network.try_get(settings.network_id)
        if not addresses or network is None:
            return None
        ports = {parse_port(text) for text in record.config.exposed_ports}
        ports |= {port for port, _ in published_ports(record.config, record.host_config)}
        return Member(
            container_id=record.id,
            network_id=network.id,
            network_name=name,
            names=make_names(settings.dns_names or ()),
            addresses=tuple(ipaddress.ip_address(item) for item in addresses),
            ports=tuple((port.protocol, port.number) for port in ports),
            is_internal=network.is_internal,
        )

    def _links(self, container: Container) -> dict[str, str]:
        links: dict[str, str] = {}
        record = container.record
        wanted = [link for item in record.networks.values() for link in item.links or ()]
        for text in [*(record.host_config.links or ()), *wanted]:
            target, alias = parse_link(text)
            with contextlib.suppress(NotFoundError):
                links[alias.lower()] = self._context.containers.get(target).id
        return links


def _redirect(packet_filter: int, sockets: tuple[int, int], name: str) -> None:
    ports = [_port_of(descriptor) for descriptor in sockets]
    try:
        with NftablesSocket(descriptor=packet_filter) as inside:
            inside.commit(redirect_requests(ports[0], ports[1]))
    except NetlinkError as error:
        raise SystemFailureError(
            f"container {name}: cannot redirect its DNS questions: {error.strerror}"
        ) from error


def _port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as own:
        return int(own.getsockname()[1])
