"""RFC 6455 on a hijacked connection: the handshake, the frames, and nothing of HTTP.

A session sees the client as it sees any hijacked one (`kedge.server.response.ClientStream`), as
bytes: each message's payload is input, each piece of output is one binary message. Output is never
multiplexed, so stdcopy headers that come from the shim are taken out. No extension is offered.
"""

import base64
import binascii
import hashlib
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.server.request import Request
from kedge.server.response import ClientStream

MAX_FRAME: Final = 1024 * 1024
"""A client's frame above this ends the session with status 1009."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_LENGTH: Final = 16
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_DATA: Final = frozenset({_CONTINUATION, _TEXT, _BINARY})
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_CONTROL_LIMIT: Final = 125
_STDCOPY_HEADER: Final = 8
_NORMAL, _PROTOCOL_ERROR, _TOO_BIG = 1000, 1002, 1009


def accept_head(request: Request) -> bytes:
    """Return the head that turns the connection into a websocket.

    Raises:
        InvalidParameterError: The request is no websocket handshake of version 13.
    """
    headers = request.head.headers
    key = headers.get("sec-websocket-key", "").strip()
    if headers.get("upgrade", "").strip().lower() != "websocket" or not _is_key(key):
        raise InvalidParameterError(
            "not a websocket handshake: want Upgrade: websocket and a Sec-WebSocket-Key"
        )
    if headers.get("sec-websocket-version", "").strip() != "13":
        raise InvalidParameterError("unsupported Sec-WebSocket-Version: want 13")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
    )


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_LENGTH
    except (binascii.Error, ValueError):
        return False


def encode_frame(payload: bytes, opcode: int = _BINARY) -> bytes:
    """Return one whole message as a server sends it, unmasked."""
    length = len(payload)
    first = bytes((_FINAL | opcode,))
    if length <= _CONTROL_LIMIT:
        return first + bytes((length,)) + payload
    if length < 1 << 16:
        return first + b"\x7e" + length.to_bytes(2, "big") + payload
    return first + b"\x7f" + length.to_bytes(8, "big") + payload


class FrameError(Exception):
    """The client broke the protocol; ``status`` says how."""

    def __init__(self, status: int) -> None:
        """Carry the close status."""
        super().__init__(status)
        self.status = status


class FrameReader:
    """Cuts what a client sends into frames. Does no I/O."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        """Start with nothing."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that are whole now, as opcode and payload.

        Raises:
            FrameError: A frame is not masked, not known, malformed or too large.
        """
        self._buffer += data
        frames: list[tuple[int, bytes]] = []
        while (frame := self._try_next()) is not None:
            frames.append(frame)
        return frames

    def _try_next(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, length = buffer[0] & 0x0F, buffer[1] & 0x7F
        is_control = opcode >= _CLOSE
        # Reserved bits belong to extensions, and none was agreed on.
        if buffer[0] & 0x70 or not buffer[1] & _MASKED:
            raise FrameError(_PROTOCOL_ERROR)
        if opcode not in _DATA and opcode not in {_CLOSE, _PING, _PONG}:
            raise FrameError(_PROTOCOL_ERROR)
        if is_control and (length > _CONTROL_LIMIT or not buffer[0] & _FINAL):
            raise FrameError(_PROTOCOL_ERROR)
        start = 2 + {126: 2, 127: 8}.get(length, 0)
        if len(buffer) < start:
            return None
        if start > 2:
            length = int.from_bytes(buffer[2:start], "big")
        if length > MAX_FRAME:
            raise FrameError(_TOO_BIG)
        end = start + 4 + length
        if len(buffer) < end:
            return None
        payload = _unmask(bytes(buffer[start + 4 : end]), bytes(buffer[start : start + 4]))
        del buffer[:end]
        return opcode, payload


def _unmask(data: bytes, key: bytes) -> bytes:
    """Return ``data`` XOR the repeated key, as two large numbers: no loop over bytes."""
    stream = (key * (len(data) // 4 + 1))[: len(data)]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")
    return mixed.to_bytes(len(data), "little")


class WebSocketStream:
    """A client behind a websocket, as a `ClientStream` of bytes."""

    def __init__(self, client: ClientStream, *, framed: bool) -> None:
        """Wrap ``client``.

        Args:
            client: The hijacked connection.
            framed: Whether output comes with stdcopy headers.
        """
        self._client = client
        self._framed = framed
        self._reader = FrameReader()
        self._closed = False
        self._header = b""
        self._left = 0

    @property
    def is_gone(self) -> bool:
        """Whether the client has said good-bye or just gone."""
        return self._closed or self._client.is_gone

    async def read(self) -> bytes:
        """Return the payload of what the client sent; empty once it sends no more."""
        while not self._closed and (data := await self._client.read()):
            try:
                frames = self._reader.feed(data)
            except FrameError as error:
                await self.close(error.status)
                break
            if payload := await self._take(frames):
                return payload
        self._closed = True
        return b""

    async def write(self, data: bytes) -> None:
        """Send ``data`` without stdcopy headers, as binary messages."""
        if self._closed:
            raise ConnectionResetError("the client has gone")
        payload = self._strip(data) if self._framed else data
        if payload:
            await self._client.write(encode_frame(payload))

    async def wait_gone(self) -> None:
        """Return when the client has gone for good."""
        if not self._closed:
            await self._client.wait_gone()

    async def close(self, status: int = _NORMAL) -> None:
        """Say good-bye, once."""
        if not self._closed and not self._client.is_gone:
            self._closed = True
            await self._client.write(encode_frame(status.to_bytes(2, "big"), _CLOSE))

    async def _take(self, frames: list[tuple[int, bytes]]) -> bytes:
        payload = b""
        for opcode, data in frames:
            if opcode in _DATA:
                payload += data
            elif opcode == _PING:
                await self._client.write(encode_frame(data, _PONG))
            elif opcode == _CLOSE:
                # The answer to a close is its echo, RFC 6455, 5.5.1.
                self._closed = True
                await self._client.write(encode_frame(data[:2], _CLOSE))
                break
        return payload

    def _strip(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        while data:
            if self._left:
                parts.append(data[: self._left])
                taken = len(parts[-1])
                self._left -= taken
                data = data[taken:]
                continue
            need = _STDCOPY_HEADER - len(self._header)
            self._header += data[:need]
            data = data[need:]
            if len(self._header) == _STDCOPY_HEADER:
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
        return b"".join(parts)
