"""A request's body: fed by the connection, read by one handler, bounded in between."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from kedge.errdefs import InvalidParameterError
from kedge.server.chunked import ChunkedDecoder
from kedge.server.head import CHUNKED


class BodyReader:
    """The bytes of one body in order; iterating waits for more, and gives each byte once.

    Reading below the limit resumes the client; the connection stops it above.
    """

    __slots__ = (
        "_buffered", "_chunked", "_error", "_left", "_on_read", "_pieces", "_waiter", "declared"
    )  # fmt: skip

    def __init__(self, declared: int, on_read: Callable[[], None]) -> None:
        """Expect ``declared`` bytes, or chunks when it is `CHUNKED`.

        Args:
            declared: As `Head.body_length`.
            on_read: Called before the reader waits: let the client send.
        """
        self.declared = declared
        self._chunked = ChunkedDecoder() if declared == CHUNKED else None
        self._left = max(declared, 0)
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._on_read = on_read

    @property
    def complete(self) -> bool:
        """Whether the last byte has come in."""
        return self._left == 0 if self._chunked is None else self._chunked.complete

    @property
    def buffered(self) -> int:
        """Number of bytes that wait to be read."""
        return self._buffered

    @property
    def missing(self) -> int:
        """Number of bytes still to come in; -1 for chunks that nobody has counted."""
        if self.complete:
            return 0
        return self._left if self._chunked is None else -1

    @property
    def is_empty(self) -> bool:
        """Whether the request announced no body at all."""
        return self.declared == 0

    def feed(self, data: bytes) -> bytes:
        """Take the body's share of ``data`` and return what follows it.

        Raises:
            ProtocolError: The chunks are malformed; the reader gets the error, too.
        """
        if self._chunked is None:
            piece = data[: self._left]
            self._left -= len(piece)
            rest = data[len(piece) :]
            pieces = [piece]
        else:
            try:
                pieces, rest = self._chunked.feed(data)
            except Exception as error:
                self.fail(error)
                raise
        for piece in pieces:
            if piece:
                self._pieces.append(piece)
                self._buffered += len(piece)
        self._wake()
        return rest

    def fail(self, error: Exception) -> None:
        """Let the reader raise ``error`` once it has read what came in."""
        if self._error is None and not self.complete:
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Forget what came in and nobody read."""
        self._pieces.clear()
        self._buffered = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces as they come in.

        Raises:
            InvalidParameterError: The client broke off in the middle.
        """
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._buffered -= len(piece)
                yield piece
            if self.complete:
                return
            if self._error is not None:
                raise self._error
            self._on_read()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            InvalidParameterError: It is longer than ``limit`` bytes or broken off.
        """
        pieces: list[bytes] = []
        size = 0
        if self.declared > limit:
            raise InvalidParameterError(f"request body too large: more than {limit} bytes")
        async for piece in self:
            size += len(piece)
            if size > limit:
                raise InvalidParameterError(f"request body too large: more than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
