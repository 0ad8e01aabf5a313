"""Searching a registry for images."""

from collections.abc import Mapping

from kedge.errdefs import InvalidParameterError
from kedge.server.backends import SearchBackend
from kedge.server.request import Request
from kedge.server.response import Response, json_response
from kedge.server.router import Handler
from kedge.server.routers.credentials import parse_registry_auth


class SearchRouter:
    """The handler for ``docker search``."""

    def __init__(self, backend: SearchBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {"ImageSearch": self.search}

    async def search(self, request: Request) -> Response:
        """Answer what a registry finds."""
        text = request.text("limit") or "0"
        if not text.isascii() or not text.isdigit():
            raise InvalidParameterError(f'invalid limit specified: "{text}": want 1 to 100')
        found = await self._backend.search(
            request.text("term"),
            limit=int(text),
            filters=request.filters(),
            auth=parse_registry_auth(request.head.headers.get("x-registry-auth", "")),
        )
        return json_response(found)
