"""A container's network from the engine's side: which namespace, which addresses, which ports.

The order at a start: `allocate` reserves addresses and writes the files that name them, before the
container's file system is made; `connect` makes links and rules while the shim mounts. `release`
takes everything back, however far it came. `join` and `leave` do the same for one network of a
container that runs.
"""

import contextlib
import os
from collections.abc import Sequence

from kedge.api.types.config import EndpointSettings, HostConfig
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.endpoints import (
    addresses_of,
    endpoint_settings,
    endpoint_wish,
    host_addresses,
    parse_extra_host,
    port_map,
    wanted_ports,
)
from kedge.engine.linking import linked_hosts
from kedge.engine.membership import (
    DEFAULT_NETWORK,
    check_wish,
    dns_names,
    initial_networks,
    priorities,
)
from kedge.engine.naming import ContainerNames
from kedge.engine.process import NetworkFiles, namespace_of
from kedge.errdefs import ConflictError, SystemFailureError
from kedge.network import files as network_files
from kedge.network import model
from kedge.shim.client import Shim
from kedge.shim.namesockets import NAME_SERVER


class ContainerNetwork:
    """Joins containers to networks."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s network controller."""
        self._context = context
        self._names = ContainerNames(context)

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

    def dns_port(self, container: Container) -> int:
        """Return where the shim opens the name server's sockets; call it after `allocate`."""
        return self._names.port(container)

    async def take_up(self, container: Container, shim: Shim) -> None:
        """Answer the questions of a container that an earlier engine has started."""
        await self._names.take_up(container, shim)

    def publish(self, container: Container) -> None:
        """Make a container that an earlier engine has started known to the others."""
        if self._names.has_server(container):
            self._names.publish(container)

    def rename(self, container: Container) -> None:
        """Make a container that runs known by its new name."""
        record = container.record
        for settings in record.networks.values():
            if settings.dns_names:
                settings.dns_names = dns_names(record, settings)
        if record.alive and self._names.has_server(container):
            self._names.publish(container)

    async def allocate(self, container: Container, files: NetworkFiles) -> None:
        """Reserve addresses and write hosts, hostname and resolv.conf.

        Raises:
            NotFoundError: The network does not exist.
            KedgeError: No address is free, or the one asked for is not.
        """
        record, context = container.record, self._context
        mode = record.host_config.network_mode
        endpoints: list[model.Endpoint] = []
        if self.needs_namespace(container):
            wanted = record.networks or initial_networks(mode, {}, context.network.try_get)
            joined: dict[str, EndpointSettings] = {}
            for name, wish in wanted.items():
                endpoint, joined[name] = await self._make_endpoint(container, name, wish)
                endpoints.append(endpoint)
            record.networks = joined
        elif mode == "host":
            record.networks = {"host": EndpointSettings(network_id=context.network.get("host").id)}
        self._write_files(container, files, endpoints)

    async def _make_endpoint(
        self, container: Container, name: str, wish: EndpointSettings
    ) -> tuple[model.Endpoint, EndpointSettings]:
        record, context = container.record, self._context
        network = context.network.get(name)
        check_wish(network, wish)
        if wish.mac_address:
            record.mac_addresses[name] = wish.mac_address
        asked = endpoint_wish(wish, record.mac_addresses.get(name, ""))
        endpoint = await context.run_network(
            lambda: context.network.create_endpoint(record.id, network.id, asked)
        )
        settings = endpoint_settings(endpoint, wish)
        # compat: Docker knows no names on its default bridge.
        if network.has_own_links:
            settings.dns_names = dns_names(record, wish)
        return endpoint, settings

    def _write_files(
        self, container: Container, files: NetworkFiles, endpoints: Sequence[model.Endpoint]
    ) -> None:
        host, settings = container.record.host_config, self._context.settings
        shared = host.network_mode.startswith("container:")
        hostname = container.record.config.hostname
        addresses = [address for endpoint in endpoints for address in addresses_of(endpoint)]
        extra = self._extra_hosts(host, endpoints)
        extra += linked_hosts(self._context, container)
        if host.network_mode == "host":
            hosts = network_files.host_hosts(extra)
        else:
            hosts = network_files.hosts(
                hostname, container.record.config.domainname, addresses, extra
            )
        if shared:
            hosts = self._shared_text(container, "hosts") or hosts
        embedded = self._names.has_server(container)
        resolv = network_files.resolv_conf(
            dns=() if embedded else (host.dns or settings.dns),
            search=host.dns_search or settings.dns_search,
            options=host.dns_options or settings.dns_opts,
            own_namespace=self.needs_namespace(container),
            name_server=NAME_SERVER if embedded else "",
        )
        if shared:
            resolv = self._shared_text(container, "resolv_conf") or resolv
        files.write(hostname=hostname, hosts=hosts, resolv_conf=resolv)

    def _extra_hosts(
        self, host: HostConfig, endpoints: Sequence[model.Endpoint]
    ) -> list[tuple[str, str]]:
        known = self._context.network
        if not host.extra_hosts:
            return []
        if host.network_mode == "host":
            addresses = ["127.0.0.1"]
        else:
            joined = [known.get(endpoint.network_id) for endpoint in endpoints]
            addresses = host_addresses(joined, known.get(DEFAULT_NETWORK))
        return [pair for item in host.extra_hosts for pair in parse_extra_host(item, addresses)]

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
        try:
            published = await context.run_network(
                lambda: context.network.connect(
                    record.id,
                    netns_fd=namespaces[0],
                    rtnl_fd=namespaces[1],
                    ports=wanted_ports(container),
                    name=record.name,
                    priorities=priorities(record.networks),
                )
            )
            await self._names.serve(container, shim)
        finally:
            shim.close_netns()
        record.ports = port_map(container, published)
        self._names.publish(container)
        for name in record.networks:
            self._announce(container, name, "connect")

    async def join(self, container: Container, name: str, wish: EndpointSettings) -> None:
        """Take a container that runs into one more network.

        Raises:
            KedgeError: No address is free, or the kernel refused; nothing is left of it.
        """
        context, record, shim = self._context, container.record, _shim_of(container)
        before = record.networks
        async with contextlib.AsyncExitStack() as undo, contextlib.AsyncExitStack() as taken_back:
            taken_back.callback(setattr, record, "networks", before)
            taken_back.push_async_callback(
                context.run_network,
                lambda: context.network.remove_endpoint(record.id, network=name),
            )
            endpoint, settings = await self._make_endpoint(container, name, wish)
            wanted = {**record.networks, name: settings}
            namespace, route = await _open_netns(shim, undo)
            await context.run_network(
                lambda: context.network.join(
                    endpoint,
                    netns_fd=namespace,
                    rtnl_fd=route,
                    priorities=priorities(wanted),
                )
            )
            record.networks = wanted
            await self._publish_missing(container)
            container.save(durable=True)
            self._names.publish(container)
            taken_back.pop_all()
        self._update_hosts(container, add=addresses_of(endpoint))
        self._announce(container, name, "connect")

    async def leave(self, container: Container, name: str) -> None:
        """Take a container that runs out of a network; its ports move where they can."""
        context, record, shim = self._context, container.record, _shim_of(container)
        left = record.networks[name]
        rest = {key: value for key, value in record.networks.items() if key != name}
        async with contextlib.AsyncExitStack() as undo:
            _namespace, route = await _open_netns(shim, undo)
            await context.run_network(
                lambda: context.network.leave(
                    record.id, [name], rtnl_fd=route, priorities=priorities(rest)
                )
            )
        record.networks = rest
        self._names.withdraw(container, left.network_id)
        await self._publish_missing(container)
        container.save(durable=True)
        gone = [item for item in (left.ip_address, left.global_ipv6_address) if item]
        self._update_hosts(container, remove=gone)
        self._announce(container, name, "disconnect", network_id=left.network_id)

    async def finish_changes(self, container: Container) -> None:
        """Finish what a killed engine had begun with the networks of a container that runs.

        A network it was leaving is left, and one it was joining is not joined: its client has
        heard of neither. What the record says is true afterwards.

        Raises:
            KedgeError: The kernel, or the container's shim, refuses.
        """
        context, record = self._context, container.record
        if not self.needs_namespace(container):
            return
        endpoints = {item.id: item for item in context.network.endpoints(container_id=record.id)}
        kept = {
            name: item for name, item in record.networks.items() if item.endpoint_id in endpoints
        }
        known = {item.endpoint_id for item in kept.values()}
        unknown = [item for item in endpoints.values() if item.id not in known]
        if len(kept) == len(record.networks) and not unknown:
            return
        left = [item for name, item in record.networks.items() if name not in kept]
        async with contextlib.AsyncExitStack() as undo:
            _namespace, route = await _open_netns(_shim_of(container), undo)
            await context.run_network(
                lambda: context.network.leave(
                    record.id,
                    [item.network_id for item in unknown],
                    rtnl_fd=route,
                    priorities=priorities(kept),
                )
            )
        record.networks = kept
        await self._publish_missing(container)
        container.save(durable=True)
        gone = [text for item in left for text in (item.ip_address, item.global_ipv6_address)]
        gone += [text for item in unknown for text in addresses_of(item)]
        self._update_hosts(container, remove=[item for item in gone if item])

    async def _publish_missing(self, container: Container) -> None:
        """Publish the container's ports where none of its networks does so yet."""
        context, record = self._context, container.record
        if not context.network.ports(record.id):
            await context.run_network(
                lambda: context.network.publish(
                    record.id,
                    wanted_ports(container),
                    name=record.name,
                    priorities=priorities(record.networks),
                )
            )
        record.ports = port_map(container, context.network.ports(record.id))

    def _update_hosts(
        self, container: Container, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Change the container's own lines in its hosts file, which it sees by its inode."""
        config = container.record.config
        path = NetworkFiles(self._context.paths.container_dir(container.id)).hosts
        with open(path, "r+", encoding="utf-8") as stream:
            text = network_files.changed_hosts(
                stream.read(), config.hostname, config.domainname, add=add, remove=remove
            )
            stream.seek(0)
            stream.write(text)
            stream.truncate()

    def _announce(
        self, container: Container, name: str, action: str, *, network_id: str = ""
    ) -> None:
        network = self._context.network.try_get(network_id or name)
        if network is not None:
            announce_network(self._context, network, action, container_id=container.id)

    async def release(self, container: Container) -> None:
        """Take back names, links, rules, ports and addresses; what is not there is fine."""
        if not self.needs_namespace(container):
            return
        self._names.withdraw(container)
        await self._context.run_network(lambda: self._context.network.remove_endpoint(container.id))
        record = container.record
        for name, settings in record.networks.items():
            if settings.endpoint_id:
                self._announce(container, name, "disconnect", network_id=settings.network_id)
        record.networks = {
            name: EndpointSettings(
                ipam_config=settings.ipam_config,
                aliases=settings.aliases,
                links=settings.links,
                driver_opts=settings.driver_opts,
                gw_priority=settings.gw_priority,
                network_id=settings.network_id,
            )
            for name, settings in record.networks.items()
        }


def announce_network(
    context: EngineContext, network: model.Network, action: str, *, container_id: str = ""
) -> None:
    """Publish that ``action`` happened to a network, with the attributes Docker gives it."""
    context.events.publish(
        "network",
        action,
        network.id,
        {
            **({"container": container_id} if container_id else {}),
            "name": network.name,
            "type": network.driver.value,
        },
    )


def _shim_of(container: Container) -> Shim:
    if container.shim is None:
        raise ConflictError(f"container {container.id} is not running")
    return container.shim


async def _open_netns(shim: Shim, undo: contextlib.AsyncExitStack) -> tuple[int, int]:
    """Return the container's network namespace and a route socket in it, closed with ``undo``."""
    descriptors = await shim.open_netns()
    for descriptor in descriptors:
        undo.callback(os.close, descriptor)
    return descriptors
