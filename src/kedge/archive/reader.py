"""`TarReader`: the members of a tar stream, one after the other, without seeking.

It joins header blocks, PAX and GNU extension records into `Entry` values and hands out content
as views into its buffer. It judges syntax only: what an entry may do to a file system is
decided by `kedge.archive.extract`.
"""

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from kedge.archive import sparse
from kedge.archive.entry import NO_XATTRS, Entry, Kind, Segment
from kedge.archive.header import BLOCK, TYPE_KINDS, ZERO_BLOCK, RawHeader, decode_header
from kedge.archive.numbers import parse_decimal, parse_pax_time
from kedge.archive.pax import PAX_XATTR, PAX_XATTR_LIBARCHIVE, decode_pax
from kedge.errdefs import DataLossError, InvalidParameterError

ReadChunk = Callable[[], bytes]
"""Returns the next piece of the stream, of any length; empty at its end."""

# Go's archive/tar stops at the same size, so what Docker can read, this can.
_MAX_EXTENSION: Final = 1 << 20
_NANOS: Final = 1_000_000_000
_EXTENSIONS: Final = b"xXgLKV"


class TarReader:
    """Iterates over a tar stream; content not asked for is skipped.

    Usage: take an entry with `next_entry`, then its bytes with `content`.
    """

    def __init__(self, read_chunk: ReadChunk, *, name: str = "archive") -> None:
        """Read from ``read_chunk``; ``name`` is what error messages call the stream."""
        self._read_chunk = read_chunk
        self._name = name
        self._chunk = b""
        self._position = 0
        self._remaining = 0
        self._padding = 0
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Yield every entry up to the end-of-archive mark."""
        while (entry := self.next_entry()) is not None:
            yield entry

    def next_entry(self) -> Entry | None:
        """Return the next member, or None after the last.

        Raises:
            InvalidParameterError: The stream is no tar archive, or its headers are damaged.
            DataLossError: The stream ends inside a member.
        """
        try:
            return self._next_entry()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{self._name}: {error}") from None

    def _next_entry(self) -> Entry | None:
        self._skip_content()
        records: dict[bytes, bytes] = {}
        while True:
            block = self._next_block()
            if block is None or block == ZERO_BLOCK:
                if records:
                    raise self._truncated()
                return None
            raw = decode_header(block)
            if raw.type not in _EXTENSIONS:
                return self._member(raw, block, {**self._globals, **records})
            payload = self._read_extension(raw)
            match raw.type:
                case b"x" | b"X":
                    records.update(decode_pax(payload))
                case b"g":
                    self._globals.update(decode_pax(payload))
                case b"L":
                    records[b"path"] = payload.rstrip(b"\0")
                case b"K":
                    records[b"linkpath"] = payload.rstrip(b"\0")
                case _:
                    continue  # a volume label

    def content(self) -> Iterator[memoryview]:
        """Yield the stored bytes of the current entry; each view is valid until the next one."""
        while self._remaining:
            if self._position >= len(self._chunk):
                self._fill()
            view = memoryview(self._chunk)[self._position : self._position + self._remaining]
            self._position += len(view)
            self._remaining -= len(view)
            yield view

    def drain(self) -> None:
        """Read the stream to its end, past the end-of-archive mark."""
        self._chunk = b""
        self._position = 0
        self._remaining = self._padding = 0
        while self._read_chunk():
            pass

    def _fill(self) -> None:
        """Replace the used-up chunk by the next one."""
        chunk = self._read_chunk()
        if not chunk:
            raise self._truncated()
        self._chunk = chunk
        self._position = 0

    def _truncated(self) -> DataLossError:
        return DataLossError(f"{self._name}: the tar stream is truncated")

    def _skip_content(self) -> None:
        left = self._remaining + self._padding
        self._remaining = self._padding = 0
        while left:
            if self._position >= len(self._chunk):
                self._fill()
            step = min(left, len(self._chunk) - self._position)
            self._position += step
            left -= step

    def _next_block(self) -> bytes | None:
        """Return 512 bytes, or None at a clean end of the stream."""
        start = self._position
        end = start + BLOCK
        if end <= len(self._chunk):
            self._position = end
            return self._chunk[start:end]
        block = self._chunk[start:]
        while len(block) < BLOCK:
            chunk = self._read_chunk()
            if not chunk:
                if block:
                    raise self._truncated()
                self._chunk, self._position = b"", 0
                return None
            self._position = BLOCK - len(block)
            block += chunk[: self._position]
            self._chunk = chunk
        return block

    def _set_content(self, size: int) -> None:
        self._remaining = size
        self._padding = -size % BLOCK

    def _take(self, size: int) -> bytes:
        """Return the next ``size`` bytes of content."""
        parts: list[bytes] = []
        while size:
            if self._position >= len(self._chunk):
                self._fill()
            part = self._chunk[self._position : self._position + size]
            self._position += len(part)
            self._remaining -= len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _read_extension(self, raw: RawHeader) -> bytes:
        if raw.size > _MAX_EXTENSION:
            raise InvalidParameterError(f"damaged tar header: extension of {raw.size} bytes")
        self._set_content(raw.size)
        payload = self._take(raw.size)
        self._skip_content()
        return payload

    def _member(self, raw: RawHeader, block: bytes, records: Mapping[bytes, bytes]) -> Entry:
        kind = TYPE_KINDS.get(raw.type)
        name = records.get(sparse.SPARSE_NAME) or records.get(b"path") or raw.name
        if b"\0" in name:
            raise InvalidParameterError("damaged tar header: a name holds a NUL byte")
        shown = os.fsdecode(name)
        if kind is None:
            raise InvalidParameterError(
                f"{shown}: entries of type {raw.type.decode('latin-1')!r} are not supported"
            )
        size = raw.size
        if stored := records.get(b"size"):
            size = parse_decimal(stored, "size")
        if raw.type == b"\0" and name.endswith(b"/"):
            kind = Kind.DIRECTORY  # v7 had no type for it
        if kind is Kind.REGULAR:
            self._set_content(size)
        elif raw.type == b"D":
            self._set_content(size)  # GNU's list of the directory, not kept
            size = 0
        else:
            size = 0
        entry = Entry(
            shown,
            kind,
            raw.mode & 0o7777,
            raw.uid,
            raw.gid,
            size,
            raw.mtime * _NANOS,
            _decode_link(records.get(b"linkpath") or raw.link_name, kind),
            raw.device,
        )
        if records:
            entry = _apply_records(entry, records)
        if kind is Kind.REGULAR and (raw.type == b"S" or records):
            entry = self._read_sparse_map(entry, raw, block, records)
        return entry

    def _read_sparse_map(
        self, entry: Entry, raw: RawHeader, block: bytes, records: Mapping[bytes, bytes]
    ) -> Entry:
        segments: tuple[Segment, ...] | None
        if raw.type == b"S":
            real_size = sparse.real_size_of_header(block)
            segments = self._read_old_gnu_map(block)
        else:
            described = sparse.parse_pax_sparse(records)
            if described is None:
                return entry
            real_size, segments = described
            if segments is None:
                segments = self._read_data_map()
        sparse.check_segments(segments, real_size=real_size, stored_size=self._remaining)
        with_data = tuple(segment for segment in segments if segment.length)
        return entry._replace(size=real_size, segments=with_data)

    def _read_old_gnu_map(self, block: bytes) -> tuple[Segment, ...]:
        part = sparse.parse_header_map(block)
        segments = list(part.segments)
        while part.continues:
            extension = self._next_block()
            if extension is None:
                raise self._truncated()
            part = sparse.parse_extension_map(extension)
            segments += part.segments
        return tuple(segments)

    def _read_data_map(self) -> tuple[Segment, ...]:
        text = b""
        while (data_map := sparse.parse_data_map(text)) is None:
            if self._remaining < BLOCK:
                raise InvalidParameterError("damaged tar header: the sparse map has no end")
            # Doubling keeps the repeated parsing of a growing text linear.
            text += self._take(min(max(len(text), BLOCK), self._remaining // BLOCK * BLOCK))
        self._unread(text[data_map.size :])
        return data_map.segments

    def _unread(self, data: bytes) -> None:
        self._chunk = data + self._chunk[self._position :]
        self._position = 0
        self._remaining += len(data)


def _decode_link(target: bytes, kind: Kind) -> str:
    if kind not in (Kind.SYMLINK, Kind.HARD_LINK):
        return ""
    if b"\0" in target:
        raise InvalidParameterError("damaged tar header: a link target holds a NUL byte")
    return os.fsdecode(target)


def _apply_records(entry: Entry, records: Mapping[bytes, bytes]) -> Entry:
    """Return ``entry`` with what PAX records say about owner, time and attributes."""
    uid, gid, mtime_ns = entry.uid, entry.gid, entry.mtime_ns
    if text := records.get(b"uid"):
        uid = parse_decimal(text, "uid")
    if text := records.get(b"gid"):
        gid = parse_decimal(text, "gid")
    if text := records.get(b"mtime"):
        mtime_ns = parse_pax_time(text)
    xattrs: dict[str, bytes] = {}
    for key, value in records.items():
        if key.startswith(PAX_XATTR):
            xattrs[os.fsdecode(key.removeprefix(PAX_XATTR))] = value
        elif key.startswith(PAX_XATTR_LIBARCHIVE):
            attribute, raw = _decode_libarchive(key, value)
            xattrs.setdefault(attribute, raw)
    return entry._replace(uid=uid, gid=gid, mtime_ns=mtime_ns, xattrs=xattrs or NO_XATTRS)


def _decode_libarchive(key: bytes, value: bytes) -> tuple[str, bytes]:
    name = os.fsdecode(unquote_to_bytes(key.removeprefix(PAX_XATTR_LIBARCHIVE)))
    try:
        # bsdtar leaves the padding away.
        return name, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:
        raise InvalidParameterError(f"damaged tar header: value of {name!r}") from None
