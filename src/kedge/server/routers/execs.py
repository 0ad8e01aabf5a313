"""Exec sessions."""

import contextlib
from collections.abc import Mapping

from kedge.api.streams import STDERR, STDOUT, frame
from kedge.api.types.exec import ExecCreateRequest, ExecStartRequest
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import ExecBackend
from kedge.server.failures import describe_failure
from kedge.server.pump import pump
from kedge.server.request import Request
from kedge.server.response import AnyResponse, ClientStream, HijackResponse, Response, json_response
from kedge.server.router import Handler
from kedge.server.routers.container_streams import attach_content_type
from kedge.server.routers.containers import terminal_size

_WITH_CONSOLE_SIZE = ApiVersion(1, 42)


class ExecRouter:
    """Handlers for exec sessions."""

    def __init__(self, backend: ExecBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ContainerExec": self.create,
            "ExecStart": self.start,
            "ExecResize": self.resize,
            "ExecInspect": self.inspect,
        }

    async def create(self, request: Request) -> Response:
        """Record a session."""
        body = await request.json(ExecCreateRequest)
        if request.version < _WITH_CONSOLE_SIZE:
            body.console_size = None
        if not body.cmd:
            raise InvalidParameterError("no exec command specified")
        return json_response(await self._backend.create(request.name, body), 201)

    async def start(self, request: Request) -> AnyResponse:
        """Start a session, detached or joined to the client.

        The connection is taken over before the process starts, as clients expect; from then on a
        failure is text in the stream, and its exit code is found by inspecting the session.
        """
        body = await request.json(ExecStartRequest)
        if request.version < _WITH_CONSOLE_SIZE:
            body.console_size = None
        await self._backend.check(request.name)
        if body.detach:
            await self._backend.start(request.name, body)
            return Response()
        exec_id = request.name

        async def run(client: ClientStream) -> None:
            try:
                stream = await self._backend.start(exec_id, body)
            except Exception as error:  # noqa: BLE001
                text = f"{describe_failure(error).message}\r\n".encode()
                with contextlib.suppress(ConnectionError):
                    await client.write(text if body.tty else frame(STDERR, text))
                return
            if stream is not None:
                # compat: a terminal's output is framed for who did not ask for Tty at the start.
                framed = stream.tty and not body.tty
                await pump(_FramedClient(client) if framed else client, stream)

        return HijackResponse(run, attach_content_type(request, tty=body.tty))

    async def resize(self, request: Request) -> Response:
        """Resize a session's terminal."""
        width, height = terminal_size(request)
        await self._backend.resize(request.name, width=width, height=height)
        return Response()

    async def inspect(self, request: Request) -> Response:
        """Answer a session's state."""
        return json_response(await self._backend.inspect(request.name))


class _FramedClient:
    """A client that gets what is written to it in frames of standard output."""

    def __init__(self, client: ClientStream) -> None:
        self._client = client

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone

    async def read(self) -> bytes:
        return await self._client.read()

    async def write(self, data: bytes) -> None:
        await self._client.write(frame(STDOUT, data))

    async def wait_gone(self) -> None:
        await self._client.wait_gone()
