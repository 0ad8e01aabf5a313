"""What all connections of one server have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from kedge.lib.clock import Clock
from kedge.server.heads import HeadWriter
from kedge.server.limits import Limits
from kedge.server.request import Request
from kedge.server.response import AnyResponse

Application: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]


class OpenConnection(Protocol):
    """A connection as the server sees it."""

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""
        ...

    def abort(self) -> None:
        """Cut the connection and cancel its handler."""
        ...


class Shared:
    """The application, the limits, and who is connected."""

    __slots__ = ("application", "connections", "heads", "limits", "nobody")

    def __init__(
        self, application: Application, *, identity_lines: bytes, limits: Limits, clock: Clock
    ) -> None:
        """Serve with ``application``, which answers every request and never raises."""
        self.application = application
        self.limits = limits
        self.heads = HeadWriter(identity_lines, clock)
        self.connections: set[OpenConnection] = set()
        # Set while there is no connection.
        self.nobody = asyncio.Event()
        self.nobody.set()

    def add(self, connection: OpenConnection) -> None:
        """Note an open connection."""
        self.connections.add(connection)
        self.nobody.clear()

    def discard(self, connection: OpenConnection) -> None:
        """Note that a connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.nobody.set()
