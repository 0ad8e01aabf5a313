"""Compressed streams: recognise and inflate gzip, zstd, bzip2 and xz; write gzip and zstd.

gzip goes through isal (ISA-L), which inflates at twice and deflates at five times the speed of
zlib; zlib itself serves where isal has no wheel. Every member of a multi-member stream is read,
as RFC 1952 and RFC 8878 ask. Whether the content is a tar archive is not looked at.
"""

import bz2
import gzip
import importlib.util
import io
import lzma
import zlib
from abc import abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import BinaryIO, Final, Protocol, cast

import zstandard

from kedge.archive.zstdframes import FrameScanner
from kedge.errdefs import DataLossError

HAS_ISAL: Final = importlib.util.find_spec("isal") is not None
"""False where isal has no wheel for the machine."""

_READ_BYTES: Final = 1 << 18
_OUTPUT_BYTES: Final = 1 << 20
_XZ_MEMORY_BYTES: Final = 256 << 20


class Compression(StrEnum):
    """How a stream is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"


_MAGIC: Final = (
    (b"\x1f\x8b", Compression.GZIP),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\0", Compression.XZ),
)
MAGIC_BYTES: Final = 6
"""How much of a stream `detect` wants to see."""


def detect(start: bytes) -> Compression:
    """Return the compression of a stream that begins with ``start``."""
    for magic, compression in _MAGIC:
        if start.startswith(magic):
            return compression
    # A zstd stream may begin with a skippable frame, 0x184D2A50 to 0x184D2A5F.
    if start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50:
        return Compression.ZSTD
    return Compression.NONE


def decompress(stream: BinaryIO, *, name: str = "archive") -> BinaryIO:
    """Return a reader of the inflated content of ``stream``, recognised by its first bytes.

    Closing the reader leaves ``stream`` open. A plain stream comes back unchanged in content.

    Args:
        stream: Any object with ``read(n)``; short reads are fine, seeking is not needed.
        name: What error messages call the stream.

    Raises:
        DataLossError: From the reader's methods: the stream is truncated or damaged.
    """
    start = b""
    while len(start) < MAGIC_BYTES and (part := stream.read(MAGIC_BYTES - len(start))):
        start += part
    source = _Rewound(start, stream)
    compression = detect(start)
    raw: io.RawIOBase
    match compression:
        case Compression.NONE:
            raw = _PlainReader(source)
        case Compression.ZSTD:
            raw = _ZstdReader(source, name)
        case _:
            raw = _MemberReader(source, compression, name)
    return io.BufferedReader(raw, _OUTPUT_BYTES)


def compress(
    out: BinaryIO, compression: Compression = Compression.GZIP, *, level: int | None = None
) -> BinaryIO:
    """Return a writer whose content arrives compressed in ``out``, deflated in another thread.

    Closing the writer completes the stream and leaves ``out`` open. The same content gives the
    same bytes: no time and no name goes into the header.

    Args:
        out: Where the compressed bytes go.
        compression: gzip, zstd or none.
        level: The format's own level; None for a fast one.
    """
    match compression:
        case Compression.GZIP if HAS_ISAL:
            from isal import igzip_threaded  # noqa: PLC0415 - optional, see HAS_ISAL

            opener = cast("_Opener", igzip_threaded.open)
            return opener(out, "wb", 1 if level is None else level, threads=1)
        case Compression.GZIP:
            zlib_level = 1 if level is None else level
            return cast("BinaryIO", gzip.GzipFile("", "wb", zlib_level, out, mtime=0))
        case Compression.ZSTD:
            compressor = zstandard.ZstdCompressor(level=3 if level is None else level, threads=1)
            return cast("BinaryIO", compressor.stream_writer(out, closefd=False))
        case Compression.NONE:
            return cast("BinaryIO", _KeepOpen(out))
        case Compression.BZIP2 | Compression.XZ:
            raise ValueError(f"{compression} is only read, never written")


class _Opener(Protocol):
    def __call__(self, out: BinaryIO, mode: str, level: int, /, *, threads: int) -> BinaryIO: ...


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Rewound:
    """A stream to which bytes can be given back that were read too far."""

    def __init__(self, start: bytes, stream: _Readable) -> None:
        self._start = start
        self._stream = stream

    def unread(self, data: bytes) -> None:
        self._start = data + self._start

    def read(self, size: int, /) -> bytes:
        if self._start:
            part, self._start = self._start[:size], self._start[size:]
            return part
        return self._stream.read(size)


class _KeepOpen(io.RawIOBase):
    """Passes writes on; closing it does not close what is below."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        return self._out.write(data)


class _InflatingReader(io.RawIOBase):
    """Turns `_inflate`, which returns pieces, into ``readinto``."""

    def readable(self) -> bool:
        return True

    @abstractmethod
    def _inflate(self, size: int) -> bytes:
        """Return up to ``size`` bytes; empty at the end of the stream."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        piece = self._inflate(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _PlainReader(_InflatingReader):
    def __init__(self, source: _Readable) -> None:
        self._source = source

    def _inflate(self, size: int) -> bytes:
        return self._source.read(size)


class _Decoder(Protocol):
    """Inflates one member; the shape of `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


class _ZlibDecoder:
    """`zlib.decompressobj` in the shape of the other decoders."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))


def _new_gzip() -> _Decoder:
    if not HAS_ISAL:
        return _ZlibDecoder()
    from isal import igzip_lib  # noqa: PLC0415 - optional, see HAS_ISAL

    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _damage() -> tuple[type[Exception], ...]:
    """Return what the decoders raise for damaged input."""
    known: tuple[type[Exception], ...] = (zlib.error, OSError, lzma.LZMAError)
    if not HAS_ISAL:
        return known
    from isal import isal_zlib  # noqa: PLC0415 - optional, see HAS_ISAL

    return (*known, cast("type[Exception]", isal_zlib.error))


_DECODERS: Final[dict[Compression, Callable[[], _Decoder]]] = {
    Compression.GZIP: _new_gzip,
    Compression.BZIP2: bz2.BZ2Decompressor,
    Compression.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES),
}
_DAMAGE: Final = _damage()


class _MemberReader(_InflatingReader):
    """gzip, bzip2 or xz: one decoder for each member, until the source ends."""

    def __init__(self, source: _Rewound, compression: Compression, name: str) -> None:
        self._source = source
        self._new_decoder = _DECODERS[compression]
        self._decoder = self._new_decoder()
        self._compression = compression
        self._name = name
        self._has_ended = False

    def _inflate(self, size: int) -> bytes:
        while not self._has_ended:
            if self._decoder.eof and not self._start_member():
                self._has_ended = True
                break
            data = self._source.read(_READ_BYTES) if self._decoder.needs_input else b""
            piece = self._decode(data, size)
            if piece:
                return piece
            if not data and self._decoder.needs_input and not self._decoder.eof:
                raise DataLossError(f"{self._name}: the {self._compression} stream is truncated")
        return b""

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            return self._decoder.decompress(data, size)
        except _DAMAGE as error:
            message = f"{self._name}: the {self._compression} stream is damaged: {error}"
            raise DataLossError(message) from None

    def _start_member(self) -> bool:
        """Begin the next member; False if there is none."""
        rest = self._decoder.unused_data
        # gzip and xz allow zeros after a member: tapes and block devices pad.
        while not (rest := rest.lstrip(b"\0")):
            rest = self._source.read(_READ_BYTES)
            if not rest:
                return False
        while len(rest) < MAGIC_BYTES and (more := self._source.read(_READ_BYTES)):
            rest += more
        if detect(rest) is not self._compression:
            raise DataLossError(
                f"{self._name}: the {self._compression} stream is followed by other data"
            )
        self._source.unread(rest)
        self._decoder = self._new_decoder()
        return True


class _Watched:
    """Shows a `FrameScanner` what the zstd decoder reads."""

    def __init__(self, source: _Readable) -> None:
        self._source = source
        self.frames = FrameScanner()

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self.frames.feed(data)
        return data


class _ZstdReader(_InflatingReader):
    """zstd frames one after the other, with a bounded piece of output at a time."""

    def __init__(self, source: _Readable, name: str) -> None:
        self._watched = _Watched(source)
        self._name = name
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            cast("BinaryIO", self._watched), read_size=_READ_BYTES, read_across_frames=True
        )

    def _inflate(self, size: int) -> bytes:
        try:
            piece = self._reader.read(size)
        except zstandard.ZstdError as error:
            message = f"{self._name}: the zstd stream is damaged: {error}"
            raise DataLossError(message) from None
        if not piece and not self._watched.frames.complete:
            raise DataLossError(f"{self._name}: the zstd stream is truncated")
        return piece
