"""Bytes that a thread writes, read by a coroutine no faster than its client takes them.

The thread is one of its own and not of the engine's pool: a client that stops reading holds up
nobody else's work.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Final

from kedge.archive.writer import Writable

_AHEAD: Final = 4
"""Pieces, each of about a megabyte, that wait for a slow client."""


class ReaderGoneError(Exception):
    """Ends the writing when nobody reads any more."""


class _Sink:
    """What the thread writes to."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(_AHEAD)
        self._closed = False
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def write(self, data: bytes, /) -> None:
        self._room.acquire()
        if self._closed:
            raise ReaderGoneError
        self._loop.call_soon_threadsafe(self.pieces.put_nowait, bytes(data))

    async def read(self) -> bytes | None:
        piece = await self.pieces.get()
        self._room.release()
        return piece

    def close(self) -> None:
        self._closed = True
        self._room.release(_AHEAD)


async def stream_written(write: Callable[[Writable], object]) -> AsyncGenerator[bytes]:
    """Yield what ``write`` writes, then raise what it raised.

    Closing the generator ends the writing; when it is closed, the thread has ended.
    """
    sink = _Sink()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        ended.set_result(error)
        sink.pieces.put_nowait(None)

    def work() -> None:
        error: BaseException | None = None
        try:
            write(sink)
        except BaseException as raised:  # noqa: BLE001 - it is raised again in the reader
            error = raised
        loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=work, name="kedge-stream", daemon=True).start()
    try:
        while (piece := await sink.read()) is not None:
            yield piece
        error = await ended
        if error is not None:
            raise error
    finally:
        sink.close()
        await asyncio.shield(ended)
