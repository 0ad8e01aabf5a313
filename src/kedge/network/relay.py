"""One proxied connection: bytes between two sockets, with half-close and back-pressure.

No loop and no policy: `kedge.network.proxy` says when a socket is ready. Each direction holds at
most one buffer; while it is full, nothing more is read from the other side.
"""

import contextlib
import errno
import os
import select
import socket
from typing import Final

_CHUNK_BYTES: Final = 65536
CHUNKS_PER_EVENT: Final = 16


class Direction:
    """Bytes on their way from one socket to the other."""

    __slots__ = ("buffer", "is_ended", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        """Move what comes from ``source`` to ``sink``."""
        self.source = source
        self.sink = sink
        self.buffer = memoryview(b"")
        self.is_ended = False

    def pump(self) -> None:
        """Move what can be moved now; a limit keeps one fast sender from starving the others."""
        for _ in range(CHUNKS_PER_EVENT):
            if self.buffer:
                try:
                    sent = self.sink.send(self.buffer)
                except BlockingIOError:
                    return
                self.buffer = self.buffer[sent:]
            elif self.is_ended:
                return
            else:
                try:
                    data = self.source.recv(_CHUNK_BYTES)
                except BlockingIOError:
                    return
                self.buffer = memoryview(data)
                if not data:
                    # At once: with the end seen and nothing to send, no event would come for it.
                    self.is_ended = True
                    self._half_close()

    def _half_close(self) -> None:
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise


class TcpRelay:
    """A client's connection and the one made for it to the container."""

    __slots__ = ("_back", "_client", "_descriptors", "_forth", "_is_connecting", "_server")

    def __init__(self, client: socket.socket, target: tuple[str, int]) -> None:
        """Begin to connect to ``target``; the client's bytes wait meanwhile.

        Raises:
            OSError: There is no way to the target; the client's socket is still open.
        """
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        code = server.connect_ex(target)
        if code not in {0, errno.EINPROGRESS}:
            server.close()
            raise OSError(code, os.strerror(code))
        client.settimeout(0)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._server = server
        self._descriptors = (client.fileno(), server.fileno())
        self._forth = Direction(client, server)
        self._back = Direction(server, client)
        self._is_connecting = True

    def interests(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return ``(descriptor, epoll events)`` of both ends, as wanted now."""
        client, server = self._descriptors
        if self._is_connecting:
            return (client, 0), (server, select.EPOLLOUT)
        return (
            (client, _interest(reading=self._forth, writing=self._back)),
            (server, _interest(reading=self._back, writing=self._forth)),
        )

    def advance(self, event: int) -> bool:
        """Do what an event allows; False says that the connection is over."""
        if self._is_connecting:
            if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return False
            self._is_connecting = False
        try:
            self._forth.pump()
            self._back.pump()
        except OSError:
            return False
        if self._forth.is_ended and self._back.is_ended:
            return False
        # A reset peer reports nothing else any more; waiting on would spin.
        return not event & select.EPOLLERR

    def close(self) -> None:
        """Close both ends."""
        with contextlib.suppress(OSError):
            self._client.close()
        with contextlib.suppress(OSError):
            self._server.close()


class UdpFlow:
    """One client of a UDP port and the socket that speaks to the container for it."""

    __slots__ = ("_server", "client", "last_used")

    def __init__(
        self, client: tuple[str, int] | tuple[str, int, int, int], target: tuple[str, int]
    ) -> None:
        """Open a socket towards ``target``, for the answers of which ``client`` is the address.

        Raises:
            OSError: There is no way to the target.
        """
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._server = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._server.connect(target)
        except OSError:
            self._server.close()
            raise
        self.client = client
        self.last_used = 0.0

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._server.fileno()

    def forward(self, data: bytes, now: float) -> None:
        """Send a client's datagram on; one that cannot be sent is lost, as UDP allows."""
        self.last_used = now
        with contextlib.suppress(OSError):
            self._server.send(data)

    def return_answers(self, listening: socket.socket, now: float) -> None:
        """Send the container's answers to the client through the published port's socket."""
        for _ in range(CHUNKS_PER_EVENT):
            try:
                data = self._server.recv(_CHUNK_BYTES)
            except OSError:
                # Nothing more, or the port in the container is closed (ECONNREFUSED).
                return
            self.last_used = now
            with contextlib.suppress(OSError):
                listening.sendto(data, self.client)

    def close(self) -> None:
        """Close the socket."""
        self._server.close()


def _interest(*, reading: Direction, writing: Direction) -> int:
    wants_read = not reading.buffer and not reading.is_ended
    return (select.EPOLLIN if wants_read else 0) | (select.EPOLLOUT if writing.buffer else 0)
