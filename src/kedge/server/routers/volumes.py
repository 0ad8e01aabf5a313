"""Volumes: make, list, inspect, remove, prune."""

from collections.abc import Mapping
from typing import Final

from kedge.api.types.volume import VolumeCreateRequest
from kedge.api.versions import ApiVersion
from kedge.server.backends import VolumeBackend
from kedge.server.request import Request
from kedge.server.response import Response, json_response
from kedge.server.router import Handler

# Until then a prune took volumes with names, too.
_NAMED_ARE_SPARED: Final = ApiVersion(1, 42)


class VolumeRouter:
    """Handlers for volumes."""

    def __init__(self, backend: VolumeBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "VolumeList": self.list,
            "VolumeInspect": self.inspect,
            "VolumeCreate": self.create,
            "VolumeDelete": self.delete,
            "VolumePrune": self.prune,
        }

    async def list(self, request: Request) -> Response:
        """Answer the volumes that match."""
        return json_response(await self._backend.list(request.filters()))

    async def inspect(self, request: Request) -> Response:
        """Answer one volume."""
        return json_response(await self._backend.inspect(request.name))

    async def create(self, request: Request) -> Response:
        """Make a volume."""
        wanted = await request.json(VolumeCreateRequest, required=True)
        return json_response(await self._backend.create(wanted), status=201)

    async def delete(self, request: Request) -> Response:
        """Remove a volume."""
        await self._backend.remove(request.name, force=request.flag("force"))
        return Response(204)

    async def prune(self, request: Request) -> Response:
        """Remove what nobody uses."""
        pruned = await self._backend.prune(
            request.filters(), anonymous_only=request.version >= _NAMED_ARE_SPARED
        )
        return json_response(pruned)
