"""Containers: from their creation to their removal; streams are in `container_streams`."""

from collections.abc import Mapping

from kedge.api.options import ListOptions
from kedge.api.types.container import CreateRequest, UpdateRequest
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import ContainerBackend
from kedge.server.dialects.answers import list_containers, show_container
from kedge.server.dialects.requests import update_create, update_update
from kedge.server.request import Request
from kedge.server.response import NO_CONTENT, Response, json_response
from kedge.server.router import Handler

# Longer bodies were a HostConfig once; shorter ones are what odd clients send for "nothing".
_MAX_START_BODY = 7
_WITH_PLATFORM = ApiVersion(1, 41)


class ContainerRouter:
    """Handlers that change a container or tell about it."""

    def __init__(self, backend: ContainerBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ContainerList": self.list,
            "ContainerCreate": self.create,
            "ContainerPrune": self.prune,
            "ContainerInspect": self.inspect,
            "ContainerTop": self.top,
            "ContainerChanges": self.changes,
            "ContainerResize": self.resize,
            "ContainerStart": self.start,
            "ContainerStop": self.stop,
            "ContainerRestart": self.restart,
            "ContainerKill": self.kill,
            "ContainerUpdate": self.update,
            "ContainerRename": self.rename,
            "ContainerPause": self.pause,
            "ContainerUnpause": self.unpause,
            "ContainerDelete": self.delete,
        }

    async def list(self, request: Request) -> Response:
        """Answer the containers that match."""
        options = ListOptions(
            all=request.flag("all"),
            limit=request.integer("limit"),
            size=request.flag("size"),
            filters=request.filters(),
        )
        return json_response(list_containers(await self._backend.list(options), request.version))

    async def create(self, request: Request) -> Response:
        """Make a container from the body."""
        body = await request.json(CreateRequest, required=True)
        warnings = update_create(body, request.version)
        platform = request.text("platform") if request.version >= _WITH_PLATFORM else ""
        created = await self._backend.create(body, name=request.text("name"), platform=platform)
        created.warnings.extend(warnings)
        return json_response(created, 201)

    async def inspect(self, request: Request) -> Response:
        """Answer everything about a container."""
        shown = await self._backend.inspect(request.name, size=request.flag("size"))
        return json_response(show_container(shown, request.version))

    async def top(self, request: Request) -> Response:
        """Answer a container's processes."""
        return json_response(await self._backend.top(request.name, request.text("ps_args", "-ef")))

    async def changes(self, request: Request) -> Response:
        """Answer what a container changed in its files."""
        return json_response(await self._backend.changes(request.name))

    async def resize(self, request: Request) -> Response:
        """Resize a container's terminal."""
        width, height = terminal_size(request)
        await self._backend.resize(request.name, width=width, height=height)
        return Response()

    async def start(self, request: Request) -> Response:
        """Start a container."""
        if not -1 < request.body.declared <= _MAX_START_BODY:
            raise InvalidParameterError(
                "starting container with non-empty request body was deprecated since API v1.22 "
                "and removed in v1.24"
            )
        await self._backend.start(request.name)
        return NO_CONTENT

    async def stop(self, request: Request) -> Response:
        """Stop a container."""
        await self._backend.stop(
            request.name, signal=_stop_signal(request), timeout_s=_timeout(request)
        )
        return NO_CONTENT

    async def restart(self, request: Request) -> Response:
        """Stop and start a container."""
        await self._backend.restart(
            request.name, signal=_stop_signal(request), timeout_s=_timeout(request)
        )
        return NO_CONTENT

    async def kill(self, request: Request) -> Response:
        """Send a container a signal."""
        await self._backend.kill(request.name, signal=request.text("signal"))
        return NO_CONTENT

    async def update(self, request: Request) -> Response:
        """Change a container's limits."""
        body = await request.json(UpdateRequest)
        update_update(body, request.version)
        return json_response(await self._backend.update(request.name, body))

    async def rename(self, request: Request) -> Response:
        """Give a container another name."""
        await self._backend.rename(request.name, request.text("name"))
        return NO_CONTENT

    async def pause(self, request: Request) -> Response:
        """Freeze a container."""
        await self._backend.pause(request.name)
        return NO_CONTENT

    async def unpause(self, request: Request) -> Response:
        """Thaw a container."""
        await self._backend.unpause(request.name)
        return NO_CONTENT

    async def delete(self, request: Request) -> Response:
        """Remove a container."""
        await self._backend.remove(
            request.name,
            force=request.flag("force"),
            volumes=request.flag("v"),
            link=request.flag("link"),
        )
        return NO_CONTENT

    async def prune(self, request: Request) -> Response:
        """Remove stopped containers."""
        return json_response(await self._backend.prune(request.filters()))


def terminal_size(request: Request) -> tuple[int, int]:
    """Return the width and height a resize asks for."""
    width, height = request.integer("w"), request.integer("h")
    if not (0 <= width < 1 << 16 and 0 <= height < 1 << 16):
        raise InvalidParameterError(f"invalid terminal size: {width}x{height}")
    return width, height


def _stop_signal(request: Request) -> str:
    return request.text("signal") if request.version >= ApiVersion(1, 42) else ""


def _timeout(request: Request) -> int | None:
    return request.integer("t") if request.text("t") else None
