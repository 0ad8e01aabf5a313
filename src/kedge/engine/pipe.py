"""A request body as a file: filled by the event loop, read by one thread.

Bounded on both sides: a slow reader holds the client back, and a reader that is done makes the
rest of the body go nowhere.
"""

import asyncio
import io
import queue
from collections.abc import AsyncIterator
from typing import Final

from kedge.errdefs import KedgeError, UnavailableError

_PIECES: Final = 64
_POLL_S: Final = 0.05

_Item = bytes | KedgeError | None


class BodyPipe(io.RawIOBase):
    """The reading end; `fill` is the writing end."""

    def __init__(self) -> None:
        """Start empty."""
        self._items: queue.Queue[_Item] = queue.Queue(_PIECES)
        self._current = memoryview(b"")
        self._ended = False
        self._abandoned = False

    async def fill(self, body: AsyncIterator[bytes]) -> None:
        """Hand over ``body`` piece by piece; a failure of it is raised in the reader."""
        item: _Item = None
        try:
            async for piece in body:
                await self._put(piece)
        except KedgeError as error:
            item = error
        except asyncio.CancelledError:
            self._abandoned = True
            raise
        finally:
            await self._put(item)

    async def _put(self, item: _Item) -> None:
        while not self._abandoned:
            try:
                self._items.put_nowait(item)
            except queue.Full:
                await asyncio.sleep(_POLL_S / 10)
            else:
                return

    def abandon(self) -> None:
        """Read no more; whatever still comes is dropped."""
        self._abandoned = True

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Read some bytes; 0 at the end.

        Raises:
            KedgeError: The body broke off.
        """
        while not self._current and not self._ended:
            self._take()
        count = min(len(buffer), len(self._current))
        buffer[:count] = self._current[:count]
        self._current = self._current[count:]
        return count

    def _take(self) -> None:
        try:
            item = self._items.get(timeout=_POLL_S)
        except queue.Empty:
            if self._abandoned:
                raise UnavailableError(
                    "the client went away in the middle of its request"
                ) from None
            return
        if item is None:
            self._ended = True
        elif isinstance(item, KedgeError):
            raise item
        else:
            self._current = memoryview(item)
