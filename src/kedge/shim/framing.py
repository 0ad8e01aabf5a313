"""Messages as bytes on a stream socket: four bytes of big-endian length, then JSON.

A stream instead of datagrams, because a process's environment may be larger than any socket
buffer. Descriptors ride on the first byte of the message that announces them with ``"fds": n``;
the kernel never merges two messages' descriptors into one read, so order is enough to match them.
"""

import json
import os
from array import array
from collections import deque
from collections.abc import Iterable
from socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, send_fds, socket
from typing import Final, NamedTuple

from kedge.errdefs import SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject

HEADER_LENGTH: Final = 4
_READ_SIZE: Final = 65536
_MAX_FDS: Final = 8
# Far above the largest process environment the kernel accepts (6 MB), far below memory.
MAX_MESSAGE: Final = 16 * 1024 * 1024


class Message(NamedTuple):
    """One received message with the descriptors that came along; the receiver owns them."""

    body: JsonObject
    fds: tuple[int, ...]


def encode_frame(body: JsonObject, *, fds: int = 0) -> bytes:
    """Return ``body`` as it goes over the socket, announcing ``fds`` descriptors."""
    if fds:
        body = {**body, "fds": fds}
    data = json.dumps(body, separators=(",", ":")).encode()
    return len(data).to_bytes(HEADER_LENGTH, "big") + data


class FrameReader:
    """Cuts a stream of bytes and descriptors back into messages."""

    __slots__ = ("_buffer", "_fds")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: list[int] = []

    def feed(self, data: bytes, fds: list[int]) -> None:
        """Take what one ``recvmsg`` returned."""
        self._buffer += data
        self._fds += fds

    def try_next(self) -> Message | None:
        """Return the next whole message, or None until more has arrived.

        Raises:
            SystemFailureError: The bytes are no message of this protocol.
        """
        if len(self._buffer) < HEADER_LENGTH:
            return None
        end = HEADER_LENGTH + int.from_bytes(self._buffer[:HEADER_LENGTH], "big")
        if end > MAX_MESSAGE:
            raise SystemFailureError(f"shim message of {end} bytes is larger than {MAX_MESSAGE}")
        if len(self._buffer) < end:
            return None
        body = _decode(bytes(self._buffer[HEADER_LENGTH:end]))
        del self._buffer[:end]
        count = body.get("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise SystemFailureError("shim message came without the descriptors it announced")
        fds, self._fds = tuple(self._fds[:count]), self._fds[count:]
        return Message(body, fds)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has arrived of a message to come."""
        return not self._buffer and not self._fds

    def close(self) -> None:
        """Close descriptors of a message that never became whole."""
        close_all(self._fds)
        self._fds.clear()


class FrameWriter:
    """Messages on their way out of a non-blocking socket; never blocks, never loses one."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: deque[tuple[memoryview, tuple[int, ...]]] = deque()

    def add(self, body: JsonObject, fds: tuple[int, ...] = ()) -> None:
        """Queue ``body``; its descriptors now belong to the writer, which closes them once sent."""
        self._queue.append((memoryview(encode_frame(body, fds=len(fds))), fds))

    def flush(self, connection: socket) -> bool:
        """Send what fits now; return whether everything is out.

        Raises:
            OSError: The connection broke.
        """
        while self._queue:
            data, fds = self._queue[0]
            try:
                sent = send_fds(connection, [data], list(fds)) if fds else connection.send(data)
            except BlockingIOError:
                return False
            # Descriptors go with the first byte, so a partial send has taken them along.
            close_all(fds)
            if sent == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = (data[sent:], ())
        return True

    @property
    def is_empty(self) -> bool:
        """Whether everything is out."""
        return not self._queue

    def close(self) -> None:
        """Close descriptors that were never sent."""
        for _, fds in self._queue:
            close_all(fds)
        self._queue.clear()


def receive(connection: socket, reader: FrameReader) -> bool:
    """Move one read's worth from ``connection`` into ``reader``; False at end of file.

    Raises:
        BlockingIOError: Nothing is there now.
        OSError: The connection broke.
    """
    data, fds = receive_fds(connection, _READ_SIZE)
    reader.feed(data, fds)
    return bool(data)


def receive_fds(connection: socket, size: int) -> tuple[bytes, list[int]]:
    """Return up to ``size`` bytes and the descriptors that came with them, closed on exec.

    `socket.recv_fds` cannot be used: it drops its flags, and a descriptor that a concurrent fork
    inherits keeps its other end from ever seeing the end of file.
    """
    data, ancillary, _, _ = connection.recvmsg(
        size, CMSG_LEN(_MAX_FDS * array("i").itemsize), MSG_CMSG_CLOEXEC
    )
    fds = array("i")
    for level, kind, payload in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that nobody will use."""
    for fd in fds:
        os.close(fd)


def _decode(data: bytes) -> JsonObject:
    try:
        body: Json = json.loads(data)
    except ValueError as error:
        raise SystemFailureError(f"shim message is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise SystemFailureError("shim message is not a JSON object")
    return body
