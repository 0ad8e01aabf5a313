"""BuildKit's two connections: taken over from HTTP/1.1 and given to the engine as they are."""

from collections.abc import Mapping
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.server.backends import BuildKitBackend
from kedge.server.request import Request
from kedge.server.response import ClientStream, HijackResponse
from kedge.server.router import Handler

_HEAD: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


class BuildKitRouter:
    """Handlers that switch to HTTP/2."""

    def __init__(self, backend: BuildKitBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {"Grpc": self.control, "Session": self.session}

    async def control(self, request: Request) -> HijackResponse:
        """Let a client call BuildKit's services."""
        _check_upgrade(request)
        return HijackResponse(self._backend.serve_control, "", head=_HEAD)

    async def session(self, request: Request) -> HijackResponse:
        """Take a client's session, on which the engine is the one who calls."""
        _check_upgrade(request)
        headers = request.head.headers
        identity = headers.get("x-docker-expose-session-uuid", "")
        if not identity:
            raise InvalidParameterError("a session needs X-Docker-Expose-Session-Uuid")
        shared_key = headers.get("x-docker-expose-session-sharedkey", "")

        async def run(client: ClientStream) -> None:
            await self._backend.serve_session(identity, shared_key, client)

        return HijackResponse(run, "", head=_HEAD)


def _check_upgrade(request: Request) -> None:
    protocol = request.head.headers.get("upgrade", "")
    if protocol.lower() != "h2c":
        raise InvalidParameterError(
            f"protocol {protocol or 'HTTP/1.1'} is not supported here: want Upgrade: h2c"
        )
