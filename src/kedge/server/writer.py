"""The sending half of a connection: responses, whole or in chunks, no faster than the client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from kedge.server.heads import HeadWriter
from kedge.server.response import FileResponse, Response, StreamResponse

_SMALL_FILE: Final = 32 * 1024
"""Copied behind the head: one system call is then cheaper than the kernel's sending."""


class ResponseWriter:
    """Writes to one transport; raises `ConnectionResetError` once the client has gone."""

    __slots__ = ("_drained", "_gone", "_heads", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, heads: HeadWriter) -> None:
        """Write to ``transport``."""
        self._transport = transport
        self._heads = heads
        self._gone = False
        # Present while the transport has more to send than it should.
        self._drained: asyncio.Future[None] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether too much is unsent."""
        return self._drained is not None

    def write(self, data: bytes) -> None:
        """Send ``data`` without waiting."""
        if self._gone:
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        if self._drained is not None:
            await self._drained

    async def send(
        self, response: Response, *, keep_alive: bool, http_1_0: bool, head_only: bool
    ) -> None:
        """Send a whole response."""
        head = self._heads.fixed(response, keep_alive=keep_alive, http_1_0=http_1_0)
        self.write(head if head_only else head + response.body)
        await self.drain()

    async def send_chunks(
        self, response: StreamResponse, *, keep_alive: bool, http_1_0: bool, head_only: bool
    ) -> None:
        """Send a head, then each chunk as it comes; the source is closed in any case."""
        chunked = not http_1_0 and response.length is None
        try:
            self.write(self._heads.streamed(response, keep_alive=keep_alive, http_1_0=http_1_0))
            if head_only:
                return
            async for chunk in response.chunks:
                if chunk:
                    self.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    await self.drain()
            if chunked:
                self.write(b"0\r\n\r\n")
        finally:
            await _close_source(response.chunks)

    async def send_file(
        self, response: FileResponse, *, keep_alive: bool, http_1_0: bool, head_only: bool
    ) -> None:
        """Send a head and a part of a file, which is closed in any case."""
        with response.file as file:
            head = self._heads.streamed(response, keep_alive=keep_alive, http_1_0=http_1_0)
            if head_only:
                self.write(head)
                return
            if response.length <= _SMALL_FILE:
                file.seek(response.offset)
                data = file.read(response.length)
                self.write(head + data)
                sent = len(data)
            else:
                self.write(head)
                await self.drain()
                sent = await self._send_file(response)
        if sent != response.length:
            raise ConnectionResetError(f"the file ended after {sent} of {response.length} bytes")
        await self.drain()

    async def _send_file(self, response: FileResponse) -> int:
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        return await asyncio.get_running_loop().sendfile(
            self._transport, response.file, response.offset, response.length
        )

    def pause(self) -> None:
        """Make `drain` wait."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """Let `drain` return."""
        waiter, self._drained = self._drained, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def lose(self) -> None:
        """Note that the client has gone."""
        self._gone = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the client has gone"))
            # Nobody may be waiting: then it is no error that nobody looks.
            self._drained.exception()


async def _close_source(chunks: AsyncIterator[bytes]) -> None:
    """Run the end of a generator that was left before its end."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
