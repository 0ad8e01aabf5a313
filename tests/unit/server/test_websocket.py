import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.server.websocket import MAX_FRAME, FrameError, FrameReader, WebSocketStream, encode_frame

KEY = b"\x37\xfa\x21\x3d"


def masked(payload: bytes, opcode: int = 2, *, first: int = 0x80) -> bytes:
    """A frame as a client sends it."""
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 1 << 16:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    body = bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))
    return bytes((first | opcode,)) + size + KEY + body


class FakeClient:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.sent = b""
        self.is_gone = False

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, data: bytes) -> None:
        self.sent += data

    async def wait_gone(self) -> None:
        await asyncio.Event().wait()


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_frames_survive_any_cut(payloads: list[bytes], step: int) -> None:
    data = b"".join(masked(payload) for payload in payloads)
    reader = FrameReader()
    got = [
        frame
        for start in range(0, len(data), step)
        for frame in reader.feed(data[start : start + step])
    ]
    assert got == [(2, payload) for payload in payloads]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, MAX_FRAME])
def test_lengths(size: int) -> None:
    payload = os.urandom(size)
    assert FrameReader().feed(masked(payload)) == [(2, payload)]
    assert encode_frame(payload).endswith(payload)


def test_the_example_of_the_rfc() -> None:
    assert FrameReader().feed(bytes.fromhex("818537fa213d7f9f4d5158")) == [(1, b"Hello")]
    assert encode_frame(b"Hello", 1) == bytes.fromhex("810548656c6c6f")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (encode_frame(b"not masked"), 1002),
        (masked(b"", 3), 1002),
        (masked(b"", first=0xC0), 1002),
        (masked(b"x" * 126, 9), 1002),
        (masked(b"", 9, first=0), 1002),
        (b"\x82\xff" + (MAX_FRAME + 1).to_bytes(8, "big"), 1009),
    ],
)
def test_what_breaks_the_protocol_ends_the_session(data: bytes, status: int) -> None:
    with pytest.raises(FrameError) as caught:
        FrameReader().feed(data)
    assert caught.value.status == status

    async def scenario() -> None:
        client = FakeClient(data)
        stream = WebSocketStream(client, framed=False)
        assert await stream.read() == b""
        assert stream.is_gone
        assert client.sent == encode_frame(status.to_bytes(2, "big"), 8)

    asyncio.run(scenario())


def test_a_ping_is_answered_and_a_close_echoed() -> None:
    async def scenario() -> None:
        close = (1001).to_bytes(2, "big")
        client = FakeClient(masked(b"hi", 9) + masked(b"one"), masked(close + b"bye", 8))
        stream = WebSocketStream(client, framed=False)
        assert await stream.read() == b"one"
        assert await stream.read() == b""
        assert stream.is_gone
        await stream.wait_gone()
        assert client.sent == encode_frame(b"hi", 10) + encode_frame(close, 8)
        await stream.close()
        assert client.sent.endswith(encode_frame(close, 8))
        with pytest.raises(ConnectionResetError):
            await stream.write(b"late")

    asyncio.run(scenario())


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_output_loses_its_multiplexing(payloads: list[bytes], step: int) -> None:
    framed = b"".join(
        bytes((1 + index % 2, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload
        for index, payload in enumerate(payloads)
    )

    async def scenario() -> bytes:
        client = FakeClient()
        stream = WebSocketStream(client, framed=True)
        for start in range(0, len(framed), step):
            await stream.write(framed[start : start + step])
        return client.sent

    sent = asyncio.run(scenario())
    got = b""
    while sent:
        length = sent[1]
        assert sent[0] == 0x82
        got, sent = got + sent[2 : 2 + length], sent[2 + length :]
    assert got == b"".join(payloads)
