"""The server on one end of a socket pair, a raw HTTP client on the other; no files, no ports."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from kedge.server.connection import Connection
from kedge.server.limits import DEFAULT_LIMITS, Limits
from kedge.server.server import build_application
from kedge.server.shared import Shared
from tests.unit.server.fakes import IDENTITY, FakeClock, FakeEngine

DEADLINE_S = 60


class Answer(NamedTuple):
    """A parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """Sends bytes and reads responses."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def get(self, target: str, *, headers: str = "") -> Answer:
        return await self.ask("GET", target, headers=headers)

    async def ask(
        self, method: str, target: str, *, headers: str = "", body: bytes | None = None
    ) -> Answer:
        await self.send(request_bytes(method, target, headers=headers, body=body))
        return await self.answer(method)

    async def receive(self) -> bytes:
        """Return what comes next, empty at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return await self._receive()

    async def receive_exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self._fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    async def receive_until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            await self._fill()
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    async def receive_all(self) -> bytes:
        """Return everything until the server closes."""
        data = b""
        while piece := await self.receive():
            data += piece
        return data

    async def answer(self, method: str = "GET") -> Answer:
        """Read one response."""
        status, headers = await self.answer_head()
        if method == "HEAD" or status in {204, 304} or status < 200:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, b"".join([chunk async for chunk in self.chunks()]))
        if "content-length" in headers:
            body = await self.receive_exactly(int(headers["content-length"]))
            return Answer(status, headers, body)
        return Answer(status, headers, await self.receive_all())

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.receive_until(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        pairs = (line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            size = int(await self.receive_until(b"\r\n"), 16)
            chunk = await self.receive_exactly(size)
            assert await self.receive_exactly(2) == b"\r\n"
            if not size:
                return
            yield chunk

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    async def _receive(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.get_running_loop().sock_recv(self.sock, 65536)

    async def _fill(self) -> None:
        data = await self._receive()
        assert data, "the server closed the connection"
        self.buffer += data


class Stage:
    """A server over fake backends and as many clients as wanted."""

    def __init__(self, limits: Limits) -> None:
        self.engine = FakeEngine()
        self.shared = Shared(
            build_application(self.engine.backends, IDENTITY),
            identity_lines=IDENTITY.header_lines(),
            limits=limits,
            clock=FakeClock(),
        )
        self._socks: list[socket.socket] = []

    async def connect(self, *, buffer_bytes: int = 0) -> RawClient:
        """Return a new client; ``buffer_bytes`` makes the kernel's buffers small."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.settimeout(0)
            if buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Connection(self.shared), theirs
        )
        self._socks.append(ours)
        return RawClient(ours)

    async def close(self) -> None:
        for sock in self._socks:
            sock.close()
        for shim in (self.engine.containers.shim, self.engine.execs.shim):
            if shim is not None:
                shim.close()
        for connection in list(self.shared.connections):
            connection.abort()
        async with asyncio.timeout(DEADLINE_S):
            await self.shared.nobody.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def play(scenario: Callable[[Stage], Awaitable[None]], limits: Limits = DEFAULT_LIMITS) -> None:
    """Run ``scenario`` on a stage of its own."""

    async def run() -> None:
        stage = Stage(limits)
        try:
            async with asyncio.timeout(DEADLINE_S * 2):
                await scenario(stage)
        finally:
            await stage.close()

    asyncio.run(run())


def request_bytes(
    method: str, target: str, *, headers: str = "", body: bytes | None = None
) -> bytes:
    """Return a request with a Host, and a length and JSON's type when there is a body."""
    head = f"{method} {target} HTTP/1.1\r\nHost: kedge\r\n{headers}"
    if body is not None:
        if "content-type" not in headers.lower():
            head += "Content-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until ``condition`` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def settle(rounds: int = 50) -> None:
    """Let other tasks run for a while that needs no clock."""
    for _ in range(rounds):
        await asyncio.sleep(0)
