"""A hijacked connection, seen as a stream of bytes in both directions.

The connection feeds it and tells it about the client; a session reads and writes. Input above
the limit stops the client, output above it stops the session.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class HijackedStream:
    """The client's side of one attached session."""

    __slots__ = (
        "_buffered", "_ended", "_gone", "_loop", "_on_read", "_pieces", "_reader",
        "_silent_until", "_transport", "_writable",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        on_read: Callable[[], None],
        *,
        silence_s: float = 0.0,
    ) -> None:
        """Take over ``transport``.

        Args:
            transport: Where the client is.
            on_read: Called when input may flow again.
            silence_s: How long the first output waits.
        """
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._on_read = on_read
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._silent_until = self._loop.time() + silence_s if silence_s else 0.0
        self._gone: asyncio.Future[None] = self._loop.create_future()

    @property
    def buffered(self) -> int:
        """Number of input bytes that wait to be read."""
        return self._buffered

    @property
    def is_gone(self) -> bool:
        """Whether the connection is lost."""
        return self._gone.done()

    async def read(self) -> bytes:
        """Return all input that waits, or the next that comes; empty at its end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._on_read()
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        self._pieces.clear()
        self._buffered = 0
        return data

    async def write(self, data: bytes) -> None:
        """Send ``data``; waits while too much is unsent.

        Raises:
            ConnectionResetError: The client has gone.
        """
        if self._silent_until:
            await asyncio.sleep(self._silent_until - self._loop.time())
            self._silent_until = 0.0
        if self._gone.done():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        if self._writable is not None:
            await asyncio.shield(self._writable)

    async def wait_gone(self) -> None:
        """Return when the connection is lost."""
        await asyncio.shield(self._gone)

    def feed(self, data: bytes) -> None:
        """Take input from the client."""
        if data:
            self._pieces.append(data)
            self._buffered += len(data)
            _wake(self._reader)

    def end_input(self) -> None:
        """Note that the client sends no more."""
        self._ended = True
        _wake(self._reader)

    def lose(self) -> None:
        """Note that the connection is gone."""
        _wake(self._gone)
        self.end_input()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionResetError("the client has gone"))
            # Nobody may be waiting: then it is no error that nobody looks.
            self._writable.exception()

    def pause(self) -> None:
        """Make writers wait."""
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume(self) -> None:
        """Let writers go on."""
        waiter, self._writable = self._writable, None
        _wake(waiter)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
