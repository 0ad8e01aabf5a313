"""The line between the runtime and the process that becomes the container.

A ``SOCK_SEQPACKET`` pair, close-on-exec at both ends, so its closing is the news that ``execve``
succeeded. Messages are one letter and a body; a failure is its class name, NUL and its text,
raised again on the other side as the same class of `kedge.errdefs`.
"""

from __future__ import annotations

import _socket
import os
import struct

from kedge import errdefs
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import sockets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final


CREATED: Final = b"C"
START: Final = b"S"
HOOKS: Final = b"H"
PID: Final = b"P"
LISTENER: Final = b"L"
NETWORK: Final = b"N"
CONTINUE: Final = b"G"
_ERROR: Final = b"E"

# Well below the kernel's default socket buffer (212992), far above any list of mount points.
_MESSAGE_MAX: Final = 131072
_INT: Final = struct.calcsize("i")


class Message(NamedTuple):
    """One received message; ``kind`` is empty when the other end is closed."""

    kind: bytes
    body: bytes = b""
    fds: tuple[int, ...] = ()


class Channel:
    """One end of the line."""

    __slots__ = ("_socket",)

    def __init__(self, end: _socket.socket) -> None:
        """Take over ``end``."""
        self._socket = end

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def detach(self) -> int:
        """Return the descriptor, which is the caller's now."""
        return self._socket.detach()

    def close(self) -> None:
        """Close this end; a process waiting at the other gives up."""
        self._socket.close()

    def send(self, kind: bytes, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send one message, with descriptors if there are any."""
        if fds:
            rights = struct.pack(f"{len(fds)}i", *fds)
            ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]
            self._socket.sendmsg([kind + body], ancillary)
        else:
            self._socket.send(kind + body)

    def send_listener(self, listener: int) -> None:
        """Send the listener of the filter this process is under."""
        self.send(LISTENER, b"", [listener])

    def send_failure(self, error: BaseException) -> None:
        """Send ``error``; if nobody listens any more, that is fine."""
        name = type(error).__name__ if isinstance(error, KedgeError) else "SystemFailureError"
        text = str(error) or type(error).__name__
        with suppress(OSError):
            self._socket.send(_ERROR + f"{name}\0{text}".encode(errors="replace")[:_MESSAGE_MAX])

    def receive(self) -> Message:
        """Return the next message, or one without a kind at the end.

        Raises:
            KedgeError: The other side failed, and this is its failure.
        """
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(
                _MESSAGE_MAX, _socket.CMSG_SPACE(4 * _INT), _socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return Message(b"")
        fds: list[int] = []
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                count = len(content) // _INT
                fds += struct.unpack_from(f"{count}i", content)
        if data[:1] == _ERROR:
            raise parse_failure(data[1:])
        return Message(data[:1], data[1:], tuple(fds))


def parse_failure(body: bytes) -> KedgeError:
    """Return the failure another process sent."""
    name, _, text = body.decode(errors="replace").partition("\0")
    found = getattr(errdefs, name, None)
    if isinstance(found, type) and issubclass(found, KedgeError):
        return found(text)
    return SystemFailureError(text)


def open_channel() -> tuple[Channel, Channel]:
    """Return both ends of a new line."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)


def accept(listener: int) -> Channel:
    """Return a line to whoever connects to the socket ``listener``, which is closed then."""
    descriptor = sockets.accept(listener)
    os.close(listener)
    return Channel(_socket.socket(fileno=descriptor))
