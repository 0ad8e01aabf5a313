"""Listening sockets in, connections out: what every HTTP server of kedge is made of."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable

from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.server.connection import Connection
from kedge.server.limits import DEFAULT_LIMITS, Limits
from kedge.server.listeners import LISTEN_BACKLOG, Listener, close_listener
from kedge.server.shared import Application, Shared


class HttpServer:
    """Serves one application on any number of listeners; made and used inside a running loop."""

    def __init__(
        self,
        application: Application,
        *,
        identity_lines: bytes,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Serve ``application``, with ``identity_lines`` in every response's head."""
        self._shared = Shared(
            application, identity_lines=identity_lines, limits=limits, clock=clock
        )
        self._servers: list[tuple[Listener, asyncio.Server]] = []

    @property
    def connection_count(self) -> int:
        """Number of open connections."""
        return len(self._shared.connections)

    async def serve(
        self, listeners: Iterable[Listener], *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Accept clients on ``listeners``, which the server then owns."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            server = await loop.create_server(
                self._connect, sock=listener.sock, backlog=LISTEN_BACKLOG, ssl=tls
            )
            self._servers.append((listener, server))

    async def close(self, *, grace_s: float) -> None:
        """Accept no more, let answers finish for ``grace_s``, then cut what is left."""
        for listener, server in self._servers:
            server.close()
            close_listener(listener)
        self._servers.clear()
        connections = self._shared.connections
        for connection in list(connections):
            connection.close_when_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._shared.nobody.wait()
        for connection in list(connections):
            connection.abort()
        await self._shared.nobody.wait()

    def _connect(self) -> Connection:
        return Connection(self._shared)
