"""Registries: push, login, and what is under a name."""

from collections.abc import Mapping

from kedge.api.types.system import AuthConfig
from kedge.api.versions import ApiVersion
from kedge.server.backends import RegistryBackend
from kedge.server.request import Request
from kedge.server.response import Response, StreamResponse, json_response
from kedge.server.router import Handler
from kedge.server.routers.credentials import parse_registry_auth
from kedge.server.routers.platforms import platform_of
from kedge.server.routers.progress import progress_response

_WITH_PUSHED_PLATFORM = ApiVersion(1, 46)


class RegistryRouter:
    """Handlers for what happens at a registry."""

    def __init__(self, backend: RegistryBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ImagePush": self.push,
            "SystemAuth": self.auth,
            "DistributionInspect": self.inspect,
        }

    async def push(self, request: Request) -> StreamResponse:
        """Push an image."""
        messages = await self._backend.push(
            request.name,
            tag=request.text("tag"),
            platform=platform_of(request, since=_WITH_PUSHED_PLATFORM),
            auth=_auth(request),
        )
        return await progress_response(messages)

    async def auth(self, request: Request) -> Response:
        """Check credentials."""
        return json_response(await self._backend.auth(await request.json(AuthConfig)))

    async def inspect(self, request: Request) -> Response:
        """Answer what a registry has under a name."""
        return json_response(await self._backend.inspect_remote(request.name, auth=_auth(request)))


def _auth(request: Request) -> AuthConfig | None:
    return parse_registry_auth(request.head.headers.get("x-registry-auth", ""))
