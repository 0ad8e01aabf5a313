"""Standard input and output to and from a connection, each half closed on its own."""

import os
import select
from typing import Final

from kedge.client.http import Connection
from kedge.client.streams import write_all

_CHUNK: Final = 1 << 16
_SHUT_WR: Final = 1


def relay_stdio(connection: Connection) -> None:
    """Copy both ways until the engine closes the connection."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(connection.fileno(), select.POLLIN)
    while True:
        ready = dict(poller.poll())
        if 0 in ready:
            data = os.read(0, _CHUNK)
            if data:
                connection.sendall(data)
            else:
                # The engine may still have something to say.
                poller.unregister(0)
                connection.shutdown(_SHUT_WR)
        if connection.fileno() in ready:
            try:
                data = connection.recv(_CHUNK)
            except ConnectionResetError:
                return
            if not data:
                return
            write_all(1, data)
