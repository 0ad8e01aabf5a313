"""Networks: what there is."""

from collections.abc import Mapping

from kedge.api.types.network import (
    NetworkConnectRequest,
    NetworkCreateRequest,
    NetworkDisconnectRequest,
)
from kedge.api.versions import ApiVersion
from kedge.server.backends import NetworkBackend
from kedge.server.dialects.requests import update_endpoint, update_network
from kedge.server.request import Request
from kedge.server.response import Response, json_response
from kedge.server.router import Handler

# Until then a list told as much of each network as an inspection does.
_WITHOUT_CONTAINERS = ApiVersion(1, 28)


class NetworkRouter:
    """Handlers for networks."""

    def __init__(self, backend: NetworkBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "NetworkList": self.list,
            "NetworkListSlash": self.list,
            "NetworkInspect": self.inspect,
            "NetworkCreate": self.create,
            "NetworkDelete": self.delete,
            "NetworkConnect": self.connect,
            "NetworkDisconnect": self.disconnect,
            "NetworkPrune": self.prune,
        }

    async def list(self, request: Request) -> Response:
        """Answer the networks that match."""
        networks = await self._backend.list(request.filters())
        if request.version < _WITHOUT_CONTAINERS:
            networks = [await self._backend.inspect(item.id, scope="") for item in networks]
        return json_response(networks)

    async def inspect(self, request: Request) -> Response:
        """Answer one network."""
        return json_response(await self._backend.inspect(request.name, scope=request.text("scope")))

    async def create(self, request: Request) -> Response:
        """Make a network from the body."""
        body = await request.json(NetworkCreateRequest, required=True)
        update_network(body, request.version)
        return json_response(await self._backend.create(body), 201)

    async def delete(self, request: Request) -> Response:
        """Remove a network."""
        await self._backend.remove(request.name)
        return Response(204)

    async def connect(self, request: Request) -> Response:
        """Take a container into a network."""
        body = await request.json(NetworkConnectRequest, required=True)
        update_endpoint(body.endpoint_config, request.version)
        await self._backend.connect(request.name, body)
        return Response()

    async def disconnect(self, request: Request) -> Response:
        """Take a container out of a network."""
        body = await request.json(NetworkDisconnectRequest, required=True)
        await self._backend.disconnect(request.name, body)
        return Response()

    async def prune(self, request: Request) -> Response:
        """Remove the unused networks that match."""
        return json_response(await self._backend.prune(request.filters()))
