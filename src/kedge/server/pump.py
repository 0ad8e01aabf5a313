"""Copying between a hijacked client and the shim's socket, both ways at once.

The end of each direction means something else:

- output ends: the process has closed it; the session is over, whatever the client still sends.
- the client stops sending: end of the process's stdin (``shutdown``); output goes on.
- the client vanishes, or types the detach keys: the socket is closed, the process keeps running
  and its stdin stays open for the next client.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Final

from kedge.api.detachkeys import DetachScanner
from kedge.api.streams import AttachedStream
from kedge.server.response import ClientStream

_READ_BYTES: Final = 128 * 1024


async def pump(client: ClientStream, stream: AttachedStream) -> None:
    """Serve the session until it ends; the stream's socket is closed afterwards."""
    try:
        with contextlib.suppress(ConnectionError):
            if stream.history is not None:
                await _send_history(client, stream.history)
            if stream.sock is not None:
                await _exchange(client, stream, stream.sock)
    finally:
        close_session(stream)


def close_session(stream: AttachedStream) -> None:
    """Let go of the process, which keeps running."""
    if stream.sock is not None:
        stream.sock.close()


async def _send_history(client: ClientStream, history: AsyncIterator[bytes]) -> None:
    async for chunk in history:
        await client.write(chunk)


async def _exchange(client: ClientStream, stream: AttachedStream, sock: socket.socket) -> None:
    output = _start(_copy_output(sock, client))
    given_up = _start(_give_up(client, stream, sock))
    both = (output, given_up)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


def _start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)


async def _copy_output(sock: socket.socket, client: ClientStream) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, _READ_BYTES):
        await client.write(data)


async def _give_up(client: ClientStream, stream: AttachedStream, sock: socket.socket) -> None:
    """Copy input; return only when the client has detached or gone."""
    with contextlib.suppress(ConnectionError):
        if await _copy_input(client, stream, sock):
            if stream.on_detach is not None:
                stream.on_detach()
            return
    await client.wait_gone()


async def _copy_input(client: ClientStream, stream: AttachedStream, sock: socket.socket) -> bool:
    """Copy the client's input until its end; return whether the client detached."""
    loop = asyncio.get_running_loop()
    scanner = DetachScanner(stream.detach_keys if stream.tty else b"")
    while data := await client.read():
        # Without stdin the input is read all the same, so that its end and a reset are seen.
        if not stream.stdin:
            continue
        forward, detached = scanner.feed(data)
        if forward:
            await loop.sock_sendall(sock, forward)
        if detached:
            return True
    if stream.stdin and not client.is_gone:
        if held := scanner.flush():
            await loop.sock_sendall(sock, held)
        # The shim may have closed its end already; then there is nobody to tell.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
    return False
