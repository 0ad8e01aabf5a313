"""Operations answered without a backend: swarm and plug-ins as on an engine that has none.

`docker inspect X` and `docker info` ask these on every host, and expect exactly these failures.
"""

from typing import Final

from kedge.errdefs import NotFoundError, NotSupportedError, UnavailableError
from kedge.server.request import Request
from kedge.server.response import AnyResponse, json_response
from kedge.server.router import Handler, Route, Support

_NO_MANAGER: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
    "to connect this node to swarm and try again."
)
_NO_SWARM: Final = "This node is not part of a swarm"


def handler_for(route: Route) -> Handler:
    """Return the handler of a route that no backend serves."""
    if route.support is not Support.PLAIN:
        return _refuse_with(NotSupportedError(_not_supported_text(route)))
    if route.operation == "PluginList":
        return _no_plugins
    if route.path.startswith("/plugins/"):
        return _no_such_plugin
    if route.operation == "SwarmLeave":
        return _refuse_with(UnavailableError(_NO_SWARM))
    return _refuse_with(UnavailableError(_NO_MANAGER))


def _not_supported_text(route: Route) -> str:
    reason = (
        "plugins are not supported: kedge has drivers of its own only"
        if route.path.startswith("/plugins/")
        else "swarm mode is not supported: kedge runs containers on one host"
    )
    return f"{reason} ({route.method} {route.path})"


def _refuse_with(error: NotSupportedError | UnavailableError) -> Handler:
    failure = type(error)
    text = str(error)

    async def refuse(request: Request) -> AnyResponse:
        # A new one each time: an exception keeps the traceback of where it was raised.
        raise failure(text)

    return refuse


async def _no_plugins(request: Request) -> AnyResponse:
    return json_response([])


async def _no_such_plugin(request: Request) -> AnyResponse:
    raise NotFoundError(f'plugin "{request.name}" not found')
