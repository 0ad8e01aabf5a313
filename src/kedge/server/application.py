"""The API as one function from request to response: version, route, handler, failure."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Final

from kedge.api.versions import negotiate
from kedge.errdefs import InvalidParameterError
from kedge.server.failures import describe_failure
from kedge.server.request import Request
from kedge.server.response import AnyResponse, Response, error_response
from kedge.server.router import Handler, Route, Router, Support
from kedge.server.routers.plain import handler_for
from kedge.server.routes import ALL_ROUTES

_logger: Final = logging.getLogger(__name__)

_VERSIONED: Final = re.compile(r"/v([0-9][0-9.]*)(/.*)", re.DOTALL)


class Application:
    """Answers requests from handlers; never raises, except when cancelled."""

    __slots__ = ("_router",)

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """Serve every route of the API with the handler of its operation."""
        self._router = Router(_bind(ALL_ROUTES, handlers))

    async def __call__(self, request: Request) -> AnyResponse:
        """Return the answer to ``request``."""
        try:
            return await self._dispatch(request)
        except Exception as error:  # noqa: BLE001
            failure = describe_failure(error)
            _logger.debug("%s %s: %d %s", request.head.method, request.head.path, *failure)
            return error_response(failure.status, failure.message)

    async def _dispatch(self, request: Request) -> AnyResponse:
        path = request.head.path
        versioned = _VERSIONED.fullmatch(path) if path.startswith("/v") else None
        if versioned is not None:
            path = versioned.group(2)
        if request.head.method == "OPTIONS":
            return Response()
        match = self._router.match(request.head.method, path)
        # Docker never answers 405, and an unknown path comes before an unknown version.
        if match is None:
            return error_response(404, "page not found")
        if versioned is not None:
            request.version = negotiate(versioned.group(1))
        request.name = match.name
        request.cancellable = match.route.cancellable
        return await match.handler(request)


def _bind(routes: Iterable[Route], handlers: Mapping[str, Handler]) -> list[tuple[Route, Handler]]:
    """Join the table of routes with the handlers.

    Raises:
        InvalidParameterError: A served operation has no handler, or a handler no operation.
    """
    bound: list[tuple[Route, Handler]] = []
    unused = set(handlers)
    for route in routes:
        if route.support is not Support.SERVED:
            bound.append((route, handler_for(route)))
            continue
        handler = handlers.get(route.operation)
        if handler is None:
            raise InvalidParameterError(f"no handler for operation {route.operation}")
        unused.discard(route.operation)
        bound.append((route, handler))
    if unused:
        raise InvalidParameterError(f"handlers without an operation: {', '.join(sorted(unused))}")
    return bound
