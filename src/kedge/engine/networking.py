"""A container's network from the engine's side: which namespace, which addresses, which ports.

The order at a start: `allocate` reserves addresses and writes the files that name them, before the
container's file system is made; `connect` makes links and rules while the shim mounts. `release`
takes everything back, however far it came.
"""

import ipaddress
from collections.abc import Sequence

from kedge.api.types.config import EndpointSettings, PortBinding
from kedge.api.types.network import EndpointResource
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.ports import published_ports
from kedge.engine.process import NetworkFiles, namespace_of
from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.network import files as network_files
from kedge.network import model
from kedge.shim.client import Shim


class ContainerNetwork:
    """Joins containers to networks."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s network controller."""
        self._context = context

    def needs_namespace(self, container: Container) -> bool:
        """Whether the container gets a network namespace of its own."""
        mode = container.record.host_config.network_mode
        return mode != "host" and not mode.startswith("container:")

    def namespace_path(self, container: Container) -> str | None:
        """Return the namespace to join, or None for the host's.

        Raises:
            NotFoundError: No such container to share with.
            InvalidParameterError: It does not run.
        """
        mode = container.record.host_config.network_mode
        if mode.startswith("container:"):
            return namespace_of(self._context, mode.removeprefix("container:"), "net")
        return None

    async def allocate(self, container: Container, files: NetworkFiles) -> None:
        """Reserve addresses and write hosts, hostname and resolv.conf.

        Raises:
            NotFoundError: The network does not exist.
            KedgeError: No address is free, or the one asked for is not.
        """
        record, context = container.record, self._context
        mode = record.host_config.network_mode
        endpoint: model.Endpoint | None = None
        if self.needs_namespace(container):
            network = context.network.get("bridge" if mode in {"default", ""} else mode)
            wish = next(iter(record.networks.values()), EndpointSettings())
            endpoint = await context.run_network(
                lambda: context.network.create_endpoint(
                    record.id, network.id, _endpoint_wish(wish, record.config.mac_address)
                )
            )
            record.networks = {network.name: _endpoint_settings(endpoint, wish)}
        elif mode == "host":
            record.networks = {"host": EndpointSettings(network_id=context.network.get("host").id)}
        self._write_files(container, files, endpoint)

    def _write_files(
        self, container: Container, files: NetworkFiles, endpoint: model.Endpoint | None
    ) -> None:
        host, settings = container.record.host_config, self._context.settings
        shared = host.network_mode.startswith("container:")
        hostname = container.record.config.hostname
        addresses = (
            [str(item.ip) for item in (endpoint.ipv4, endpoint.ipv6) if item is not None]
            if endpoint is not None
            else []
        )
        gateway = str(endpoint.gateway4) if endpoint and endpoint.gateway4 else "127.0.0.1"
        extra = [_extra_host(item, gateway) for item in host.extra_hosts]
        if host.network_mode == "host":
            hosts = network_files.host_hosts(extra)
        else:
            hosts = network_files.hosts(
                hostname, container.record.config.domainname, addresses, extra
            )
        if shared:
            hosts = self._shared_text(container, "hosts") or hosts
        resolv = network_files.resolv_conf(
            dns=host.dns or settings.dns,
            search=host.dns_search or settings.dns_search,
            options=host.dns_options or settings.dns_opts,
            own_namespace=self.needs_namespace(container),
        )
        files.write(hostname=hostname, hosts=hosts, resolv_conf=resolv)

    def _shared_text(self, container: Container, name: str) -> str:
        mode = container.record.host_config.network_mode
        other = self._context.containers.get(mode.removeprefix("container:"))
        path = getattr(NetworkFiles(self._context.paths.container_dir(other.id)), name)
        with open(path, encoding="utf-8") as stream:
            return stream.read()

    async def connect(self, container: Container, shim: Shim) -> None:
        """Make the link into the shim's namespace and publish the ports.

        Raises:
            ConflictError: A port is taken; the text names its holder.
            SystemFailureError: The kernel refused a link or a rule.
        """
        if not self.needs_namespace(container):
            return
        context, record = self._context, container.record
        namespaces = shim.netns_fd, shim.rtnl_fd
        if min(namespaces) < 0:
            raise SystemFailureError(
                f"container {container.name}: the shim sent no network namespace"
            )
        wanted = [
            model.PortBinding(
                protocol=port.protocol,
                container_port=port.number,
                host_ip=binding.host_ip,
                host_port=_range(binding.host_port)[0],
                host_port_last=_range(binding.host_port)[1],
            )
            for port, binding in published_ports(record.config, record.host_config)
        ]
        try:
            published = await context.run_network(
                lambda: context.network.connect(
                    record.id,
                    netns_fd=namespaces[0],
                    rtnl_fd=namespaces[1],
                    ports=wanted,
                    name=record.name,
                )
            )
        finally:
            shim.close_netns()
        record.ports = _port_map(container, published)

    async def release(self, container: Container) -> None:
        """Take back links, rules, ports and addresses; what is not there is fine."""
        if not self.needs_namespace(container):
            return
        await self._context.run_network(lambda: self._context.network.remove_endpoint(container.id))
        record = container.record
        record.networks = {
            name: EndpointSettings(
                ipam_config=settings.ipam_config,
                aliases=settings.aliases,
                links=settings.links,
                driver_opts=settings.driver_opts,
                network_id=settings.network_id,
            )
            for name, settings in record.networks.items()
        }


def endpoint_resource(container: Container, settings: EndpointSettings) -> EndpointResource:
    """Return how an inspected network shows a container."""
    return EndpointResource(
        name=container.name,
        endpoint_id=settings.endpoint_id,
        mac_address=settings.mac_address,
        ipv4_address=f"{settings.ip_address}/{settings.ip_prefix_len}"
        if settings.ip_address
        else "",
        ipv6_address=f"{settings.global_ipv6_address}/{settings.global_ipv6_prefix_len}"
        if settings.global_ipv6_address
        else "",
    )


def _endpoint_wish(wish: EndpointSettings, mac: str) -> model.EndpointSettings:
    ipam = wish.ipam_config
    try:
        ipv4 = ipaddress.IPv4Address(ipam.ipv4_address) if ipam and ipam.ipv4_address else None
        ipv6 = ipaddress.IPv6Address(ipam.ipv6_address) if ipam and ipam.ipv6_address else None
    except ValueError as error:
        raise InvalidParameterError(f"invalid endpoint settings: {error}") from None
    return model.EndpointSettings(ipv4=ipv4, ipv6=ipv6, mac=wish.mac_address or mac)


def _endpoint_settings(endpoint: model.Endpoint, wish: EndpointSettings) -> EndpointSettings:
    settings = EndpointSettings(
        ipam_config=wish.ipam_config,
        aliases=wish.aliases,
        links=wish.links,
        driver_opts=wish.driver_opts,
        mac_address=endpoint.mac,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.id,
    )
    if endpoint.ipv4 is not None:
        settings.ip_address = str(endpoint.ipv4.ip)
        settings.ip_prefix_len = endpoint.ipv4.network.prefixlen
        settings.gateway = str(endpoint.gateway4 or "")
    if endpoint.ipv6 is not None:
        settings.global_ipv6_address = str(endpoint.ipv6.ip)
        settings.global_ipv6_prefix_len = endpoint.ipv6.network.prefixlen
        settings.ipv6_gateway = str(endpoint.gateway6 or "")
    return settings


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first or 0), int(last or 0)


def _extra_host(item: str, gateway: str) -> tuple[str, str]:
    name, separator, address = item.partition(":")
    if not separator:
        name, separator, address = item.partition("=")
    if not separator or not name:
        raise InvalidParameterError(f"bad format for add-host: {item!r}: want NAME:ADDRESS")
    return name, gateway if address == "host-gateway" else address


def _port_map(
    container: Container, published: Sequence[model.PublishedPort]
) -> dict[str, list[PortBinding] | None]:
    ports: dict[str, list[PortBinding] | None] = dict.fromkeys(
        container.record.config.exposed_ports
    )
    for item in published:
        key = f"{item.container_port}/{item.protocol}"
        bindings = ports.get(key) or []
        bindings.append(PortBinding(host_ip=item.host_ip, host_port=str(item.host_port)))
        ports[key] = bindings
    return ports
