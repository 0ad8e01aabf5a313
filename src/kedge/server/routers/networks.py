"""Networks and volumes: what there is."""

from collections.abc import Mapping

from kedge.server.backends import NetworkBackend, VolumeBackend
from kedge.server.request import Request
from kedge.server.response import Response, json_response
from kedge.server.router import Handler


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
        }

    async def list(self, request: Request) -> Response:
        """Answer the networks that match."""
        return json_response(await self._backend.list(request.filters()))

    async def inspect(self, request: Request) -> Response:
        """Answer one network."""
        return json_response(await self._backend.inspect(request.name, scope=request.text("scope")))


class VolumeRouter:
    """Handlers for volumes."""

    def __init__(self, backend: VolumeBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {"VolumeList": self.list, "VolumeInspect": self.inspect}

    async def list(self, request: Request) -> Response:
        """Answer the volumes that match."""
        return json_response(await self._backend.list(request.filters()))

    async def inspect(self, request: Request) -> Response:
        """Answer one volume."""
        return json_response(await self._backend.inspect(request.name))
