"""Ping, version, info, events, disk usage, login."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from kedge.api import codec
from kedge.api.options import EventsOptions
from kedge.api.types.system import Event
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import SystemBackend
from kedge.server.dialects.answers import show_disk_usage, show_info
from kedge.server.request import Request
from kedge.server.response import (
    PLAIN_TEXT,
    Response,
    ServerIdentity,
    StreamResponse,
    json_response,
)
from kedge.server.router import Handler
from kedge.server.routers.timestamps import parse_timestamp

_WITH_KINDS: Final = ApiVersion(1, 42)
_DISK_USAGE_KINDS: Final = frozenset({"container", "image", "volume", "build-cache"})


class SystemRouter:
    """Handlers for the engine itself."""

    def __init__(self, backend: SystemBackend, identity: ServerIdentity) -> None:
        """Answer from ``backend``; ping is answered without it."""
        self._backend = backend
        headers = (
            ("Builder-Version", identity.builder_version),
            ("Cache-Control", "no-cache, no-store, must-revalidate"),
            ("Pragma", "no-cache"),
            ("Swarm", "inactive"),
        )
        self._pong = Response(200, b"OK", PLAIN_TEXT, headers)
        # compat: dockerd announces no length for HEAD but 0, and old clients check it.
        self._pong_head = Response(200, b"", PLAIN_TEXT, headers)

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "SystemPing": self.ping,
            "SystemPingHead": self.ping_head,
            "SystemVersion": self.version,
            "SystemInfo": self.info,
            "SystemEvents": self.events,
            "SystemDataUsage": self.disk_usage,
        }

    async def ping(self, request: Request) -> Response:
        """Answer that the server lives."""
        return self._pong

    async def ping_head(self, request: Request) -> Response:
        """Answer the first question of every docker command."""
        return self._pong_head

    async def version(self, request: Request) -> Response:
        """Answer the engine's versions."""
        return json_response(await self._backend.version())

    async def info(self, request: Request) -> Response:
        """Answer the engine's state."""
        return json_response(show_info(await self._backend.info(), request.version))

    async def events(self, request: Request) -> StreamResponse:
        """Stream events, one JSON object a line."""
        since, until = request.text("since"), request.text("until")
        options = EventsOptions(
            since_ns=parse_timestamp(since) if since else None,
            until_ns=parse_timestamp(until) if until else None,
            filters=request.filters(),
        )
        if (
            options.since_ns is not None
            and options.until_ns is not None
            and options.until_ns < options.since_ns
        ):
            raise InvalidParameterError(
                f"`since` time ({since}) cannot be after `until` time ({until})"
            )
        return StreamResponse(_event_lines(await self._backend.events(options)))

    async def disk_usage(self, request: Request) -> Response:
        """Answer what takes how much space."""
        kinds = frozenset(request.texts("type") if request.version >= _WITH_KINDS else ())
        unknown = kinds - _DISK_USAGE_KINDS
        if unknown:
            raise InvalidParameterError(f"unknown object type: {min(unknown)}")
        usage = await self._backend.disk_usage(kinds)
        return json_response(show_disk_usage(usage, request.version))


async def _event_lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for event in events:
        yield codec.encode(event) + b"\n"
