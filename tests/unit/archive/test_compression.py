import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kedge.archive import compression
from kedge.archive.compression import Compression, compress, decompress, detect
from kedge.errdefs import DataLossError

CONTENT = os.urandom(3000) + b"kedge " * 60_000

ENCODERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstandard.ZstdCompressor(write_checksum=True).compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
}
PACKED = [kind for kind in Compression if kind is not Compression.NONE]


class Slow:
    """A stream that never returns as much as it is asked for."""

    def __init__(self, data: bytes, step: int) -> None:
        self._inner = io.BytesIO(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._inner.read(min(size, self._step))


def inflate(data: bytes, step: int = 1 << 20) -> bytes:
    return decompress(Slow(data, step), name="sha256:abc").read()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", Compression)
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_every_format_in_any_steps(kind: Compression, step: int) -> None:
    packed = ENCODERS[kind](CONTENT[:20_000])
    assert detect(packed) is kind
    assert inflate(packed, step) == CONTENT[:20_000]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("step", [1, 100, 1 << 20])
def test_members_follow_each_other(kind: Compression, step: int) -> None:
    packed = ENCODERS[kind](CONTENT[:9000]) + ENCODERS[kind](b"") + ENCODERS[kind](b"tail")
    assert inflate(packed, step) == CONTENT[:9000] + b"tail"


def test_thousands_of_members() -> None:
    assert inflate(gzip.compress(b"a") * 5000) == b"a" * 5000


@pytest.mark.parametrize("kind", PACKED)
def test_truncated_anywhere(kind: Compression) -> None:
    packed = ENCODERS[kind](CONTENT)
    for cut in [*range(6, 60), *range(60, len(packed), 97), len(packed) - 1]:
        with pytest.raises(DataLossError, match=f"sha256:abc: the {kind} stream is truncated"):
            inflate(packed[:cut])


@pytest.mark.parametrize("kind", PACKED)
def test_a_flipped_bit_is_found(kind: Compression) -> None:
    packed = bytearray(ENCODERS[kind](CONTENT))
    packed[len(packed) // 2] ^= 0x10
    with pytest.raises(DataLossError, match="sha256:abc"):
        inflate(bytes(packed))


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.XZ])
def test_zeros_may_follow(kind: Compression) -> None:
    assert inflate(ENCODERS[kind](b"content") + bytes(1000), 13) == b"content"


def test_other_data_may_not_follow() -> None:
    with pytest.raises(DataLossError, match="followed by other data"):
        inflate(gzip.compress(b"content") + b"more than that")


def test_a_zstd_stream_may_begin_with_a_skippable_frame() -> None:
    frame = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    assert inflate(frame + ENCODERS[Compression.ZSTD](b"content"), 1) == b"content"


@pytest.mark.parametrize("has_isal", [True, False])
def test_gzip_with_and_without_isal(monkeypatch: pytest.MonkeyPatch, *, has_isal: bool) -> None:
    if has_isal and not compression.HAS_ISAL:
        pytest.skip("isal has no wheel for this machine")
    monkeypatch.setattr(compression, "HAS_ISAL", has_isal)
    out = io.BytesIO()
    with compress(out) as writer:
        writer.write(CONTENT)
    assert gzip.decompress(out.getvalue()) == CONTENT
    assert inflate(out.getvalue(), 1000) == CONTENT
    assert inflate(gzip.compress(b"a") + gzip.compress(b"b"), 1) == b"ab"


@pytest.mark.parametrize("kind", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_what_is_written_is_read_back_and_always_the_same(kind: Compression) -> None:
    outputs: set[bytes] = set()
    for _ in range(2):
        out = io.BytesIO()
        with compress(out, kind) as writer:
            for start in range(0, len(CONTENT), 1000):
                writer.write(CONTENT[start : start + 1000])
        assert not out.closed
        outputs.add(out.getvalue())
    (packed,) = outputs
    assert detect(packed) is kind
    assert inflate(packed) == CONTENT


@given(st.binary(max_size=2000), st.integers(1, 19))
def test_zstd_frames_of_any_kind_are_followed(content: bytes, level: int) -> None:
    for has_size, has_checksum in ((False, False), (False, True), (True, True), (True, False)):
        compressor = zstandard.ZstdCompressor(
            level=level, write_content_size=has_size, write_checksum=has_checksum
        )
        packed = compressor.compress(content)
        assert inflate(packed) == content
        with pytest.raises(DataLossError):
            inflate(packed[:-1])


def test_a_bomb_is_inflated_piece_by_piece() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    stream = decompress(io.BytesIO(bomb))
    assert len(bomb) < 1 << 16
    assert stream.read(100) == bytes(100)
