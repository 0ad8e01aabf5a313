"""Networks as the API lists them."""

from collections.abc import Sequence

from kedge.api.types.config import EndpointSettings
from kedge.api.types.network import (
    IPAM,
    IPAMConfig,
    Network,
    NetworkConnectRequest,
    NetworkCreateRequest,
    NetworkCreateResponse,
    NetworkDisconnectRequest,
    NetworksPruneResponse,
)
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.endpoints import endpoint_resource
from kedge.engine.inspect import format_time
from kedge.engine.membership import check_can_join, check_wish
from kedge.engine.networking import ContainerNetwork, announce_network
from kedge.engine.networkspec import make_network_spec
from kedge.errdefs import ConflictError, ForbiddenError, InvalidParameterError, NotFoundError
from kedge.images.listing import parse_moment
from kedge.lib.filters import Filters
from kedge.network import model

_KEYS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PREDEFINED = frozenset({"bridge", "host", "none"})


class NetworkService:
    """Satisfies the server's ``NetworkBackend``."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s networks."""
        self._context = context
        self._membership = ContainerNetwork(context)

    async def create(self, request: NetworkCreateRequest) -> NetworkCreateResponse:
        """Make a network; its bridge appears with its first container.

        Raises:
            ConflictError: The name is taken.
            ForbiddenError: A subnet is in the way of another network or of a route of the host.
            InvalidParameterError: What was asked for is malformed.
        """
        if not request.name:
            raise InvalidParameterError("network name is required: give the new network a name")
        spec = make_network_spec(request)
        network = await self._context.run_network(
            lambda: self._context.network.create_network(spec)
        )
        announce_network(self._context, network, "create")
        return NetworkCreateResponse(id=network.id)

    async def remove(self, ref: str) -> None:
        """Remove a network nobody is in.

        Raises:
            ForbiddenError: It is predefined, or a container that runs is in it.
        """
        network = self._context.network.get(ref)
        members = self._members(network)
        if members:
            names = " ".join(
                f'name:"{container.name}" id:"{container.id[:12]}"' for container, _ in members
            )
            raise ForbiddenError(
                f"error while removing network: network {network.name} has active endpoints "
                f"({names}): disconnect or stop them first"
            )
        await self._remove(network)

    async def _remove(self, network: model.Network) -> None:
        await self._context.run_network(lambda: self._context.network.remove_network(network.id))
        announce_network(self._context, network, "destroy")

    async def connect(self, ref: str, request: NetworkConnectRequest) -> None:
        """Take a container into a network, at once where it runs, otherwise with its next start.

        Raises:
            ForbiddenError: It is in there, or its network mode excludes others.
        """
        network = self._context.network.get(ref)
        container = self._context.containers.get(request.container)
        wish = request.endpoint_config or EndpointSettings()
        check_wish(network, wish)
        async with container.held() as record:
            check_can_join(record, network)
            if record.alive:
                await self._membership.join(container, network.name, wish)
            else:
                wish.network_id = network.id
                record.networks = {**record.networks, network.name: wish}
                container.save(durable=True)

    async def disconnect(self, ref: str, request: NetworkDisconnectRequest) -> None:
        """Take a container out of a network.

        Raises:
            ForbiddenError: It uses the host's network, or is not in this one.
        """
        network = self._context.network.try_get(ref)
        name = ref if network is None else network.name
        try:
            container = self._context.containers.get(request.container)
        except NotFoundError:
            if request.force:
                return
            raise
        async with container.held() as record:
            if record.host_config.network_mode == "host":
                raise ForbiddenError(
                    "container cannot be disconnected from host network or connected to host "
                    "network"
                )
            if name not in record.networks:
                raise ForbiddenError(f"container {container.id} is not connected to network {name}")
            if record.alive and network is not None:
                await self._membership.leave(container, name)
            else:
                record.networks = {
                    key: value for key, value in record.networks.items() if key != name
                }
                container.save(durable=True)

    async def prune(self, filters: Filters) -> NetworksPruneResponse:
        """Remove the networks that nobody is in and that match."""
        filters.check_keys(("until", "label", "label!"))
        limits = [parse_moment(text, self._context.clock) for text in filters.get("until")]
        response = NetworksPruneResponse()
        for network in self._context.network.networks():
            labels = dict(network.labels)
            if (
                network.name in _PREDEFINED
                or self._members(network)
                or any(network.created_ns >= limit for limit in limits)
                or not filters.matches_labels(labels)
                or filters.excludes_labels(labels)
            ):
                continue
            try:
                await self._remove(network)
            except (ConflictError, ForbiddenError, NotFoundError):
                # Somebody was faster, one way or the other.
                continue
            response.networks_deleted.append(network.name)
        self._context.events.publish("network", "prune", "", {"reclaimed": "0"})
        return response

    async def list(self, filters: Filters) -> Sequence[Network]:
        """Return the networks that match."""
        filters.check_keys(_KEYS)
        return [
            make_network(network)
            for network in self._context.network.networks()
            if self._matches(network, filters)
        ]

    def _matches(self, network: model.Network, filters: Filters) -> bool:
        kind = "builtin" if network.name in _PREDEFINED else "custom"
        used = network.name in _PREDEFINED or bool(self._members(network))
        return (
            filters.matches_pattern("name", network.name)
            and filters.matches_prefix("id", network.id)
            and filters.matches_exactly("driver", network.driver)
            and filters.matches_exactly("scope", "local")
            and filters.matches_exactly("type", kind)
            and filters.matches_labels(dict(network.labels))
            and ("dangling" not in filters or filters.boolean("dangling", default=True) is not used)
        )

    async def inspect(self, ref: str, *, scope: str) -> Network:
        """Return one network with its containers.

        Raises:
            NotFoundError: There is none, or none of that scope.
        """
        if scope not in {"", "local"}:
            raise NotFoundError(f"network {ref} not found")
        found = self._context.network.get(ref)
        shown = make_network(found)
        shown.containers = {
            container.id: endpoint_resource(container, settings)
            for container, settings in self._members(found)
        }
        return shown

    def _members(self, network: model.Network) -> Sequence[tuple[Container, EndpointSettings]]:
        return [
            (container, container.record.networks[network.name])
            for container in self._context.containers
            if container.record.alive and network.name in container.record.networks
        ]


def make_network(network: model.Network) -> Network:
    """Return a network as list and inspect show it."""
    return Network(
        name=network.name,
        id=network.id,
        created=format_time(network.created_ns),
        driver=network.driver,
        enable_ipv4=network.enable_ipv4,
        enable_ipv6=network.enable_ipv6,
        ipam=IPAM(
            driver="default",
            options=None if network.name in _PREDEFINED else dict(network.ipam_options),
            config=[
                IPAMConfig(
                    subnet=str(subnet.network),
                    gateway=str(subnet.gateway),
                    ip_range=str(subnet.ip_range) if subnet.ip_range else "",
                    auxiliary_addresses={
                        name: str(address) for name, address in subnet.reserved.items()
                    },
                )
                for subnet in network.subnets
            ],
        ),
        internal=network.is_internal,
        attachable=network.is_attachable,
        options=dict(network.options),
        labels=dict(network.labels),
    )
