"""One file of a log, plain or gzip, read by offsets of its plain text.

A gzip file made by the shim (`kedge.shim.logrotation`) keeps the inode of the plain file it was
made from, so a reader that knew that one knows this one too. Offsets in gzip are cheap forwards
only; going back begins anew.
"""

import os
import zlib
from typing import Final

PACKED: Final = ".gz"
_PIECE: Final = 256 * 1024
# RFC 1952: ten bytes, then the length of the extra field, which holds our one sub-field.
_HEADER_LENGTH: Final = 24
_FIELD: Final = b"KI\x08\0"
_GZIP: Final = 16 + zlib.MAX_WBITS


class LogFile:
    """One open file of a log."""

    __slots__ = ("_inflate", "_packed_offset", "_plain_offset", "_rest", "fd", "inode", "is_packed")

    def __init__(self, fd: int, *, is_packed: bool = False) -> None:
        """Take over ``fd``."""
        self.fd = fd
        self.is_packed = is_packed
        self.inode = _load_inode(fd) if is_packed else os.fstat(fd).st_ino
        """Of the plain file, whatever has become of it."""
        self._inflate = zlib.decompressobj(_GZIP)
        self._packed_offset = 0
        self._plain_offset = 0
        self._rest = b""

    @property
    def changed_ns(self) -> int:
        """When the last entry was written."""
        return os.fstat(self.fd).st_mtime_ns

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on; empty at the end for now.

        A broken gzip file ends where it breaks.
        """
        if not self.is_packed:
            return os.pread(self.fd, size, offset)
        if offset < self._plain_offset:
            self._rewind()
        while True:
            piece = self._rest or self._unpack()
            if not piece:
                return b""
            skip = min(offset - self._plain_offset, len(piece))
            self._plain_offset += skip
            piece = piece[skip:]
            taken, self._rest = piece[:size], piece[size:]
            self._plain_offset += len(taken)
            if taken:
                return taken

    def count_lines(self) -> int:
        """Return how many whole lines there are, by reading all of it."""
        found = offset = 0
        while data := self.read(offset, _PIECE):
            found += data.count(b"\n")
            offset += len(data)
        return found

    def skip_lines(self, count: int) -> int:
        """Return the offset after the first ``count`` lines."""
        offset = 0
        while count and (data := self.read(offset, _PIECE)):
            here = data.count(b"\n")
            if here < count:
                count -= here
                offset += len(data)
                continue
            position = 0
            for _ in range(count):
                position = data.index(b"\n", position) + 1
            return offset + position
        return offset

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    def _rewind(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)
        self._packed_offset = 0
        self._plain_offset = 0
        self._rest = b""

    def _unpack(self) -> bytes:
        while not self._inflate.eof:
            data = os.pread(self.fd, _PIECE, self._packed_offset)
            self._packed_offset += len(data)
            try:
                piece = self._inflate.decompress(data)
            except zlib.error:
                return b""
            if piece or not data:
                return piece
        return b""


def try_open(name: str, *, may_be_packed: bool) -> LogFile | None:
    """Return the open file, or the gzip file it has become, or None when there is neither."""
    for is_packed in (False, True) if may_be_packed else (False,):
        try:
            fd = os.open(name + PACKED if is_packed else name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        return LogFile(fd, is_packed=is_packed)
    return None


def _load_inode(fd: int) -> int:
    head = os.pread(fd, _HEADER_LENGTH, 0)
    if len(head) == _HEADER_LENGTH and head[12:16] == _FIELD:
        return int.from_bytes(head[16:], "little")
    return os.fstat(fd).st_ino
