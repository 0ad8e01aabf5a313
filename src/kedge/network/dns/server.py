"""The embedded name server: one thread with an event loop of its own for all containers.

Each container has its own pair of sockets, opened by its shim inside the container's network
namespace and handed over, so that the server knows who asks and nobody outside the container can
reach it. The shim keeps them open: while no engine runs, questions wait in them, and the next
engine answers.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.network.dns import wire
from kedge.network.dns.answers import try_answer
from kedge.network.dns.names import NameTable
from kedge.network.dns.upstream import ResolvConf, Upstream
from kedge.network.dns.wire import MalformedError, Query

_DATAGRAMS_PER_TURN: Final = 32
_STREAMS_MAX: Final = 64
_WAITING_MAX: Final = 128
_IDLE_S: Final = 10.0
_LENGTH_BYTES: Final = 2

ClientAddress: TypeAlias = "tuple[str, int]"


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """One container's sockets and what it is allowed."""

    container_id: str
    loop: asyncio.AbstractEventLoop
    datagrams: socket.socket
    streams: socket.socket
    servers: tuple[str, ...] = ()
    """Its own name servers (``--dns``); empty for the host's."""
    waiting: int = 0
    connections: int = 0


class NameServer:
    """Serves every container that was added; started with the first, stopped by `close`."""

    def __init__(
        self,
        names: NameTable,
        *,
        resolv_conf: ResolvConf | None = None,
        make_upstream: Callable[[], Upstream] = Upstream,
    ) -> None:
        """Answer from ``names`` and, for the rest, from the host's servers.

        Args:
            names: Who is called what.
            resolv_conf: Where the host's servers are written.
            make_upstream: Makes what asks them, on the server's own event loop.
        """
        self._names = names
        self._resolv_conf = resolv_conf or ResolvConf()
        self._make_upstream = make_upstream
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._upstream: Upstream | None = None
        self._sandboxes: dict[str, Sandbox] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(
        self, container_id: str, descriptors: tuple[int, int], servers: tuple[str, ...] = ()
    ) -> None:
        """Serve a container from now on.

        Args:
            container_id: The container.
            descriptors: A bound UDP socket and a listening TCP one, which are taken over.
            servers: Name servers for it alone.
        """
        datagrams, streams = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for item in (datagrams, streams):
            item.settimeout(0)
        loop = self._running_loop()
        sandbox = Sandbox(
            container_id=container_id,
            loop=loop,
            datagrams=datagrams,
            streams=streams,
            servers=servers,
        )
        loop.call_soon_threadsafe(self._add, sandbox)

    def remove(self, container_id: str) -> None:
        """Stop serving a container; one that is not served is fine."""
        with self._lock:
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._remove, container_id)

    def close(self) -> None:
        """Stop serving; what the shims hold of the sockets stays."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name="kedge-dns", daemon=True
                )
                self._thread.start()
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._upstream = self._make_upstream()
        try:
            loop.run_forever()
        finally:
            for container_id in list(self._sandboxes):
                self._remove(container_id)
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                loop.run_until_complete(asyncio.wait(self._tasks))
            loop.close()

    # -- on the loop's thread

    def _add(self, sandbox: Sandbox) -> None:
        self._remove(sandbox.container_id)
        self._sandboxes[sandbox.container_id] = sandbox
        sandbox.loop.add_reader(sandbox.datagrams, self._receive, sandbox)
        sandbox.loop.add_reader(sandbox.streams, self._accept, sandbox)

    def _remove(self, container_id: str) -> None:
        sandbox = self._sandboxes.pop(container_id, None)
        if sandbox is None:
            return
        for item in (sandbox.datagrams, sandbox.streams):
            sandbox.loop.remove_reader(item)
            item.close()

    def _receive(self, sandbox: Sandbox) -> None:
        """Answer the questions that wait; some at a time, so that no container starves another."""
        for _ in range(_DATAGRAMS_PER_TURN):
            try:
                message, client = sandbox.datagrams.recvfrom(wire.STREAM_BYTES_MAX)
            except OSError:
                return
            answer, query = self._answer_at_once(sandbox, message, wire.UDP_BYTES)
            if query is None or answer:
                _send(sandbox, answer, client)
            elif sandbox.waiting < _WAITING_MAX:
                self._keep(self._forward_datagram(sandbox, query, message, client))
            else:
                failure = wire.make_answer(query, (), code=wire.SERVER_FAILURE)
                _send(sandbox, failure, client)

    def _answer_at_once(
        self, sandbox: Sandbox, message: bytes, limit: int
    ) -> tuple[bytes, Query | None]:
        """Return an answer, or no bytes and the question that others have to be asked."""
        try:
            query = wire.parse_query(message)
        except MalformedError:
            return wire.make_failure(message, wire.FORMAT_ERROR), None
        if query.opcode:
            return wire.make_failure(message, wire.NOT_IMPLEMENTED), None
        records = try_answer(self._names, sandbox.container_id, query)
        if records is not None:
            limit = max(limit, query.size) if limit < wire.STREAM_BYTES_MAX else limit
            return wire.make_answer(query, records, limit=limit), query
        if self._names.is_internal(sandbox.container_id):
            return wire.make_answer(query, (), code=wire.NAME_ERROR), query
        return b"", query

    async def _forward_datagram(
        self, sandbox: Sandbox, query: Query, message: bytes, client: ClientAddress
    ) -> None:
        answer = await self._forward(sandbox, query, message, stream=False)
        _send(sandbox, answer, client)

    async def _forward(
        self, sandbox: Sandbox, query: Query, message: bytes, *, stream: bool
    ) -> bytes:
        assert self._upstream is not None
        servers = sandbox.servers or self._resolv_conf.servers()
        sandbox.waiting += 1
        try:
            return await self._upstream.ask(servers, query, message, stream=stream)
        finally:
            sandbox.waiting -= 1

    def _accept(self, sandbox: Sandbox) -> None:
        try:
            peer, _ = sandbox.streams.accept()
        except OSError:
            return
        if sandbox.connections >= _STREAMS_MAX:
            peer.close()
            return
        peer.settimeout(0)
        self._keep(self._serve_stream(sandbox, peer))

    async def _serve_stream(self, sandbox: Sandbox, peer: socket.socket) -> None:
        """Answer the questions on one connection, one after the other."""
        sandbox.connections += 1
        reader, writer = await asyncio.open_connection(sock=peer)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while True:
                    async with asyncio.timeout(_IDLE_S):
                        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
                        message = await reader.readexactly(length)
                    answer, query = self._answer_at_once(sandbox, message, wire.STREAM_BYTES_MAX)
                    if query is not None and not answer:
                        answer = await self._forward(sandbox, query, message, stream=True)
                    if not answer:
                        return
                    writer.write(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
                    async with asyncio.timeout(_IDLE_S):
                        await writer.drain()
        finally:
            sandbox.connections -= 1
            writer.close()

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _send(sandbox: Sandbox, answer: bytes, client: ClientAddress) -> None:
    if answer:
        # A client that is gone, or a container that is: nobody is left to be told.
        with contextlib.suppress(OSError):
            sandbox.datagrams.sendto(answer, client)
