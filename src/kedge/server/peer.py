"""Whether a client that stopped sending is still there, as far as its socket tells.

A unix socket reports a hang-up once the peer has closed both directions, also when it had closed
one before. TCP reports only a reset: a FIN looks the same for a half-close and a close.
"""

import asyncio
import select
import socket


def tells_hang_up(transport: asyncio.BaseTransport | None) -> bool:
    """Return whether a close of the peer can be told from a half-close."""
    sock = _socket_of(transport)
    return sock is not None and sock.family == socket.AF_UNIX


def has_hung_up(transport: asyncio.BaseTransport | None) -> bool:
    """Return whether the peer has closed both directions or reset the connection."""
    sock = _socket_of(transport)
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    # Hang-ups and errors are reported without being asked for.
    poll.register(sock.fileno(), 0)
    return bool(poll.poll(0))


def _socket_of(transport: asyncio.BaseTransport | None) -> socket.socket | None:
    if transport is None:
        return None
    sock: socket.socket | None = transport.get_extra_info("socket")
    return sock
