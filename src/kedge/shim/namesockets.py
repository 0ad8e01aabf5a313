"""The sockets of the embedded name server, opened in the container's network namespace.

The engine answers on them; the shim holds them, too, so that questions wait in them while no
engine runs.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from socket import (
    AF_INET,
    AF_NETLINK,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    socket,
)
from typing import Final

from kedge.linux.netdevice import set_loopback_up
from kedge.shim.luggage import Luggage

NAME_SERVER: Final = "127.0.0.11"
"""Docker's address of the embedded name server."""

NO_NAME_SERVER: Final = -1
ANY_PORT: Final = 0
_NETLINK_NETFILTER: Final = 12
_BACKLOG: Final = 64


class NameSockets:
    """A UDP socket and a listening TCP one on `NAME_SERVER`."""

    def __init__(self, port: int, packed: Mapping[str, int] | None = None) -> None:
        """Open them in this process's network namespace, and bring its loopback up for that.

        A socket bound to an address the kernel does not know yet would answer from another one.

        Args:
            port: Where to bind; `ANY_PORT` lets the kernel choose, one for each.
            packed: Descriptors another process has packed; then nothing is opened.

        Raises:
            OSError: The port is taken.
        """
        if packed is not None:
            self._datagrams = socket(fileno=packed["names udp"])
            self._streams = socket(fileno=packed["names tcp"])
            return
        set_loopback_up()
        with ExitStack() as undo:
            self._datagrams = undo.enter_context(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC))
            self._streams = undo.enter_context(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC))
            for item in (self._datagrams, self._streams):
                item.bind((NAME_SERVER, port))
            self._streams.listen(_BACKLOG)
            undo.pop_all()

    def pack(self, luggage: Luggage) -> None:
        """Let another process have them."""
        luggage.keep("names udp", self._datagrams.fileno())
        luggage.keep("names tcp", self._streams.fileno())

    def give(self) -> tuple[int, int]:
        """Return descriptors of both, UDP first; the caller owns them."""
        return os.dup(self._datagrams.fileno()), os.dup(self._streams.fileno())


def open_packet_filter() -> int:
    """Return a netfilter socket of this process's network namespace; the caller owns it."""
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_NETFILTER).detach()
