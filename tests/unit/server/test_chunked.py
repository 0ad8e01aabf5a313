import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.server.chunked import ChunkedDecoder
from kedge.server.head import ProtocolError


def encode(chunks: list[bytes], *, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks if c)
    return body + b"0\r\n" + trailer + b"\r\n"


def decode(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    decoder = ChunkedDecoder()
    payload = b""
    rest = b""
    for piece in pieces:
        parts, left = decoder.feed(piece)
        payload += b"".join(parts)
        rest += left
    return payload, rest, decoder.complete


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(CHUNKS, st.binary(max_size=10), st.sampled_from([b"", b";name=value", b";a"]))
def test_decoding_is_the_inverse_split_at_every_byte(
    chunks: list[bytes], after: bytes, extension: bytes
) -> None:
    data = encode(chunks, extension=extension, trailer=b"X-T: 1\r\n") + after
    for at in range(len(data) + 1):
        payload, rest, complete = decode([data[:at], data[at:]])
        assert payload == b"".join(chunks)
        assert rest == after
        assert complete


@given(CHUNKS, st.binary(max_size=10))
def test_decoding_byte_by_byte(chunks: list[bytes], after: bytes) -> None:
    data = encode(chunks) + after
    payload, rest, complete = decode([data[n : n + 1] for n in range(len(data))])
    assert (payload, rest, complete) == (b"".join(chunks), after, True)


def test_a_body_is_incomplete_until_its_last_byte() -> None:
    data = encode([b"abc"])
    for at in range(len(data)):
        assert not decode([data[:at]])[2]


@pytest.mark.parametrize(
    "data",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcX",
        b"+3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"\r\n",
        b"g\r\n",
        b"1_0\r\n",
        b"ffffffffffffffff\r\n",
        b"3;" + b"x" * 5000,
        b"3" + b" " * 5000 + b"\r\n",
        b"0\r\n" + b"X: y\r\n" * 5000,
    ],
)
def test_malformed_bodies_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkedDecoder().feed(data)


@given(st.binary(max_size=100))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    try:
        payload, rest, _ = decode([data])
    except ProtocolError:
        return
    assert len(payload) + len(rest) <= len(data)
