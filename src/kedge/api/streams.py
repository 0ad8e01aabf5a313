"""Byte streams that go from the engine to a client, and stdcopy framing.

The engine opens them, the server owns them from then on: it pumps, applies back-pressure and
closes. A multiplexed stream is a run of frames: one byte of stream number (1 stdout, 2 stderr,
3 an error of the engine), three zero bytes, the payload's length as a big-endian 32-bit number,
the payload (moby `pkg/stdcopy`).
"""

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

STDOUT: Final = 1
STDERR: Final = 2
SYSTEM_ERROR: Final = 3


def frame(stream: int, payload: bytes) -> bytes:
    """Return ``payload`` as one stdcopy frame of ``stream``."""
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStream:
    """Output that only flows to the client; `chunks` are framed unless `tty`.

    The server calls ``aclose()`` on `chunks` when the client has gone.
    """

    tty: bool
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedStream:
    """A session with a container's or an exec's process.

    The server copies `sock` to the client until it ends, and, when `stdin`, the client to `sock`.
    A client that ends its input becomes ``shutdown(SHUT_WR)``; one that detaches or vanishes
    becomes a plain ``close()``, which must not end the container's stdin.

    Attributes:
        tty: The output is raw; otherwise it is in stdcopy frames.
        stdin: The client's input is for the process; otherwise it is read and dropped.
        sock: Non-blocking stream socket of the shim; None when only `history` was asked for.
        detach_keys: Byte sequence in the client's input that ends the session; empty for none.
        history: Earlier output, already framed, sent before anything from `sock`.
        on_detach: Called once when the client typed the detach keys.
    """

    tty: bool
    stdin: bool
    sock: socket.socket | None
    detach_keys: bytes = b""
    history: AsyncIterator[bytes] | None = None
    on_detach: Callable[[], None] | None = None
