"""Decoding of a chunked request body (RFC 9112, 7.1). Pure, and strict about line ends.

A lenient chunk parser is one half of a request smuggling attack, so a bare line feed, a sign or
a blank in a size, or a missing line end after the data is an error.
"""

from typing import Final

from kedge.server.head import ProtocolError

_MAX_SIZE_LINE: Final = 4096
_MAX_TRAILER_BYTES: Final = 16 * 1024
_HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")
_MAX_HEX_DIGITS: Final = 15

# What the next bytes are.
_SIZE, _DATA, _DATA_END, _TRAILER, _END = range(5)


class ChunkedDecoder:
    """Takes the bytes of a chunked body in pieces of any size."""

    __slots__ = ("_buffer", "_expect", "_left", "_trailer_bytes")

    def __init__(self) -> None:
        """Start before the first chunk."""
        self._expect = _SIZE
        self._left = 0
        self._buffer: bytes = b""
        self._trailer_bytes = 0

    @property
    def complete(self) -> bool:
        """Whether the last chunk and the trailers have been seen."""
        return self._expect == _END

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return the payload pieces in ``data`` and the bytes that follow the body's end.

        Raises:
            ProtocolError: The body is malformed.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        payload: list[bytes] = []
        at = 0
        while at < len(data) and self._expect != _END:
            if self._expect == _DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                payload.append(piece)
                if not self._left:
                    self._expect = _DATA_END
                continue
            step = self._take_line(data, at)
            if step == 0:
                self._buffer = data[at:]
                return payload, b""
            at += step
        return payload, data[at:]

    def _take_line(self, data: bytes, at: int) -> int:
        """Consume one line that starts at ``at``; return its length, 0 while it is incomplete."""
        end = data.find(b"\n", at)
        limit = 2 if self._expect == _DATA_END else _MAX_SIZE_LINE
        if end < 0:
            if len(data) - at > limit or (self._expect == _DATA_END and data[at] != 0x0D):
                raise ProtocolError(400, "malformed chunked body")
            return 0
        length = end + 1 - at
        if length < 2 or data[end - 1] != 0x0D or length > limit + 2:
            raise ProtocolError(400, "malformed chunked body")
        line = data[at : end - 1]
        if self._expect == _DATA_END:
            if line:
                raise ProtocolError(400, "malformed chunked body")
            self._expect = _SIZE
        elif self._expect == _SIZE:
            self._left = _parse_size(line)
            self._expect = _DATA if self._left else _TRAILER
        else:
            self._take_trailer(line)
        return length

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise ProtocolError(431, "the trailers of a chunked body are too long")
        if not line:
            self._expect = _END


def _parse_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > _MAX_HEX_DIGITS or not _HEX_DIGITS.issuperset(digits):
        raise ProtocolError(400, "malformed chunk size")
    return int(digits, 16)
