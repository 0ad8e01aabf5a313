"""Asking the host's name servers on a container's behalf. asyncio.

The question goes out from the host's namespace, so a resolver on the host's loopback serves, too.
Each question has a socket and an id of its own, so that a forged answer has both to guess. The
servers are asked one after the other; what the first good one says is passed on byte for byte.
"""

import asyncio
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from typing import Final

from kedge.network.dns import wire
from kedge.network.dns.wire import Query

_PORT: Final = 53
_TIMEOUT_S: Final = 3.0
_TRIES: Final = 2
_LENGTH_BYTES: Final = 2
# The next server may know better.
_NOT_GOOD: Final = frozenset({wire.SERVER_FAILURE, wire.NOT_IMPLEMENTED, wire.REFUSED})


class ResolvConf:
    """The host's name servers, read again whenever the file has changed."""

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        """Watch ``path``; a file that is not there names no server."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def servers(self) -> tuple[str, ...]:
        """Return the addresses of the name servers, those on the host's loopback included."""
        try:
            state = os.stat(self._path)
        except OSError:
            return ()
        seen = (state.st_ino, state.st_mtime_ns, state.st_size)
        if seen != self._seen:
            self._servers = _load_servers(self._path)
            self._seen = seen
        return self._servers


class Upstream:
    """Sends questions on; at most so many at a time, so that nobody can use up all sockets."""

    def __init__(self, *, port: int = _PORT, timeout_s: float = _TIMEOUT_S) -> None:
        """Ask servers on ``port``, each for ``timeout_s`` at most."""
        self._port = port
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(512)

    async def ask(
        self, servers: Sequence[str], query: Query, message: bytes, *, stream: bool
    ) -> bytes:
        """Return the answer to ``message`` with the client's own id; a failure if none comes.

        Args:
            servers: Addresses, in the order to ask them.
            query: The question, as parsed from ``message``.
            message: The question as it came.
            stream: Ask over TCP, because the client did.
        """
        number = secrets.randbelow(65536)
        question = number.to_bytes(2, "big") + message[2:]
        refusal = b""
        async with self._places:
            for server in [item for item in servers for _ in range(1 if stream else _TRIES)]:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        exchange = self._stream if stream else self._datagram
                        answer = await exchange(server, question, query, number)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    continue
                own = message[:2] + answer[2:]
                if wire.answer_code(answer) not in _NOT_GOOD:
                    return own
                refusal = refusal or own
        return refusal or wire.make_answer(query, (), code=wire.SERVER_FAILURE)

    async def _datagram(self, server: str, question: bytes, query: Query, number: int) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(_family(server), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
            peer.settimeout(0)
            # Connected: the kernel drops what comes from elsewhere and reports a closed port.
            await loop.sock_connect(peer, (server, self._port))
            await loop.sock_sendall(peer, question)
            while True:
                answer = await loop.sock_recv(peer, wire.STREAM_BYTES_MAX)
                if wire.is_answer_to(answer, query, number):
                    return answer

    async def _stream(self, server: str, question: bytes, query: Query, number: int) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(len(question).to_bytes(_LENGTH_BYTES, "big") + question)
            length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
            answer = await reader.readexactly(length)
        finally:
            writer.close()
        if not wire.is_answer_to(answer, query, number):
            raise ConnectionError(f"name server {server} answered another question")
        return answer


def _load_servers(path: str) -> tuple[str, ...]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    return tuple(w[1] for w in words if len(w) > 1 and w[0] == "nameserver" and _is_address(w[1]))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _family(server: str) -> int:
    return socket.AF_INET6 if ":" in server else socket.AF_INET
