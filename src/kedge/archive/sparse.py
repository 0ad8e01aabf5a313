"""Sparse files in tar: the maps of old GNU, and of GNU's PAX formats 0.0, 0.1 and 1.0.

Pure functions, after the GNU tar manual ("Storing Sparse Files"). Of these only PAX 1.0 is
written, which GNU tar, libarchive, Go and Python read alike.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kedge.archive.entry import Segment
from kedge.archive.header import BLOCK
from kedge.archive.numbers import parse_decimal, parse_number
from kedge.errdefs import InvalidParameterError

SPARSE_NAME: Final = b"GNU.sparse.name"
_PREFIX: Final = b"GNU.sparse."
_MAX_SEGMENTS: Final = 1 << 20


class OldGnuMap(NamedTuple):
    """What one block of an old GNU sparse map holds."""

    segments: tuple[Segment, ...]
    continues: bool
    """Another block of the map follows."""


def real_size_of_header(block: bytes) -> int:
    """Return the size of the whole file from an old GNU sparse header (type ``S``)."""
    return parse_number(block[483:495])


def parse_header_map(block: bytes) -> OldGnuMap:
    """Return the up to four segments inside an old GNU sparse header."""
    return OldGnuMap(_parse_old_entries(block[386:482]), block[482] != 0)


def parse_extension_map(block: bytes) -> OldGnuMap:
    """Return the up to 21 segments of an old GNU extension block."""
    return OldGnuMap(_parse_old_entries(block[:504]), block[504] != 0)


def _parse_old_entries(table: bytes) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for start in range(0, len(table), 24):
        offset, length = table[start : start + 12], table[start + 12 : start + 24]
        if offset[0] == 0:
            break
        segments.append(Segment(parse_number(offset), parse_number(length)))
    return tuple(segments)


class PaxSparse(NamedTuple):
    """A sparse file as PAX records describe it."""

    real_size: int
    segments: tuple[Segment, ...] | None
    """None: the map stands at the start of the content (format 1.0)."""


def parse_pax_sparse(records: Mapping[bytes, bytes]) -> PaxSparse | None:
    """Return what the records say about sparseness; None for a plain file."""
    size = records.get(_PREFIX + b"realsize") or records.get(_PREFIX + b"size")
    if size is None:
        return None
    real_size = parse_decimal(size, "sparse size")
    if records.get(_PREFIX + b"major") == b"1":
        return PaxSparse(real_size, None)
    text = records.get(_PREFIX + b"map")
    if text is None:
        return None
    return PaxSparse(real_size, _pair(text.split(b",") if text else []))


class DataMap(NamedTuple):
    """The map that opens the content in format 1.0."""

    segments: tuple[Segment, ...]
    size: int
    """Bytes the map takes, whole blocks."""


def parse_data_map(text: bytes) -> DataMap | None:
    """Return the map at the start of ``text``; None if that ends too early.

    Args:
        text: The content so far, whole blocks.
    """
    first, newline, rest = text.partition(b"\n")
    if not newline:
        return None
    count = parse_decimal(first, "sparse map length")
    if count > _MAX_SEGMENTS:
        raise InvalidParameterError(f"damaged tar header: {count} parts in a sparse file")
    numbers = rest.split(b"\n", 2 * count)
    if len(numbers) <= 2 * count:
        return None
    used = len(text) - len(numbers[-1])
    return DataMap(_pair(numbers[:-1]), used + -used % BLOCK)


def _pair(numbers: Sequence[bytes]) -> tuple[Segment, ...]:
    if len(numbers) % 2 or len(numbers) > 2 * _MAX_SEGMENTS:
        raise InvalidParameterError("damaged tar header: the sparse map is malformed")
    values = [parse_decimal(number, "sparse offset") for number in numbers]
    return tuple(map(Segment, values[::2], values[1::2]))


def check_segments(segments: Sequence[Segment], *, real_size: int, stored_size: int) -> None:
    """Make sure that a map is in order, inside the file, and accounts for the stored bytes.

    Raises:
        InvalidParameterError: It does not.
    """
    end = total = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise InvalidParameterError("damaged tar header: the sparse map overlaps itself")
        end = offset + length
        total += length
    if end > real_size or total != stored_size:
        raise InvalidParameterError("damaged tar header: the sparse map does not fit its file")


def encode_data_map(segments: Sequence[Segment], real_size: int) -> bytes:
    """Return the format 1.0 map, padded to whole blocks, that precedes the content."""
    # GNU tar learns from an empty segment at the end that the file ends in a hole.
    segments = [*segments, Segment(real_size, 0)]
    lines = [b"%d\n" % len(segments)]
    lines += [b"%d\n%d\n" % segment for segment in segments]
    text = b"".join(lines)
    return text + bytes(-len(text) % BLOCK)


def sparse_records(name: bytes, real_size: int) -> dict[bytes, bytes]:
    """Return the PAX records of a format 1.0 file."""
    return {
        _PREFIX + b"major": b"1",
        _PREFIX + b"minor": b"0",
        SPARSE_NAME: name,
        _PREFIX + b"realsize": b"%d" % real_size,
    }
