"""Networks and volumes as the API lists them."""

from collections.abc import Sequence

from kedge.api.types.config import EndpointSettings
from kedge.api.types.network import IPAM, IPAMConfig, Network
from kedge.api.types.volume import Volume, VolumeListResponse
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.inspect import format_time
from kedge.engine.networking import endpoint_resource
from kedge.errdefs import NotFoundError
from kedge.lib.filters import Filters
from kedge.network import model

_KEYS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PREDEFINED = frozenset({"bridge", "host", "none"})


class NetworkService:
    """Satisfies the server's ``NetworkBackend``."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s networks."""
        self._context = context

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
        enable_ipv4=True,
        enable_ipv6=network.enable_ipv6,
        ipam=IPAM(
            driver="default",
            config=[
                IPAMConfig(
                    subnet=str(subnet.network),
                    gateway=str(subnet.gateway),
                    ip_range=str(subnet.ip_range) if subnet.ip_range else "",
                )
                for subnet in network.subnets
            ],
        ),
        internal=network.is_internal,
        attachable=network.is_attachable,
        options=dict(network.options),
        labels=dict(network.labels),
    )


class VolumeService:
    """Satisfies the server's ``VolumeBackend``: this engine has no volumes yet."""

    async def list(self, filters: Filters) -> VolumeListResponse:
        """Return the volumes that match: none."""
        filters.check_keys(("dangling", "driver", "label", "name"))
        return VolumeListResponse(volumes=[])

    async def inspect(self, name: str) -> Volume:
        """Return one volume.

        Raises:
            NotFoundError: Always, with Docker's text.
        """
        raise NotFoundError(f"get {name}: no such volume")
