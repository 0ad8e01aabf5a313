"""The line between the runtime and the process that becomes the container.

A ``SOCK_SEQPACKET`` pair, close-on-exec at both ends, so its closing is the news that ``execve``
succeeded. Messages are one letter and a body; a failure is its class name, NUL and its text,
raised again on the other side as the same class of `kedge.errdefs`.
"""

from __future__ import annotations

import array
import contextlib
import socket

from kedge import errdefs
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

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
_INT: Final = array.array("i").itemsize


class Message(NamedTuple):
    """One received message; ``kind`` is empty when the other end is closed."""

    kind: bytes
    body: bytes = b""
    fds: tuple[int, ...] = ()


class Channel:
    """One end of the line."""

    __slots__ = ("_socket",)

    def __init__(self, end: socket.socket) -> None:
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
            socket.send_fds(self._socket, [kind + body], list(fds))
        else:
            self._socket.send(kind + body)

    def send_listener(self, listener: int) -> None:
        """Send the listener of the filter this process is under."""
        self.send(LISTENER, b"", [listener])

    def send_failure(self, error: BaseException) -> None:
        """Send ``error``; if nobody listens any more, that is fine."""
        name = type(error).__name__ if isinstance(error, KedgeError) else "SystemFailureError"
        text = str(error) or type(error).__name__
        with contextlib.suppress(OSError):
            self._socket.send(_ERROR + f"{name}\0{text}".encode(errors="replace")[:_MESSAGE_MAX])

    def receive(self) -> Message:
        """Return the next message, or one without a kind at the end.

        Raises:
            KedgeError: The other side failed, and this is its failure.
        """
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(
                _MESSAGE_MAX, socket.CMSG_SPACE(4 * _INT), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return Message(b"")
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % _INT])
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
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)
