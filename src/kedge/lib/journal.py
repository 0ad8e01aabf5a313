"""The second copy of the metadata store's changes: each committed transaction as one line of text.

    crc32 in hex, a space, [[statement, [parameter, ...]], ...] as JSON

Written after the commit and never flushed: it is there for a store that is damaged on disk, not
for power cuts, which the store itself survives. Changes build on one another (a row's number is
the next free one), so whoever replays a journal stops at the first line that cannot be read.
"""

import base64
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from kedge.lib.jsontypes import Json

Value: TypeAlias = str | int | float | bytes | None
Change: TypeAlias = tuple[str, tuple[Value, ...]]

_CRC_DIGITS: Final = 8


class Journal:
    """A file of changes that is whole up to some change: after a failed write nothing follows."""

    def __init__(self, path: str) -> None:
        """Make an empty file at ``path``.

        Raises:
            OSError: It cannot be made.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self.size_bytes = 0
        self.is_whole = True
        """Whether every change handed in was written."""

    def append(self, changes: Sequence[Change]) -> None:
        """Write one transaction; a full disk makes the journal end here."""
        if not self.is_whole:
            return
        data = encode_line(changes)
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        self.size_bytes += written
        self.is_whole = written == len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def encode_line(changes: Sequence[Change]) -> bytes:
    """Return a transaction as a line; `read_journal` is the inverse."""
    document: list[Json] = [
        [text, [_encode(value) for value in values]] for text, values in changes
    ]
    body = json.dumps(document, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_journal(path: str) -> Iterator[list[Change] | None]:
    """Return the transactions in a file, and None for each line that cannot be read."""
    try:
        with open(path, "rb") as stream:
            for line in stream:
                if line != b"\n":
                    yield _parse_line(line)
    except FileNotFoundError:
        return


def _parse_line(line: bytes) -> list[Change] | None:
    crc, _, body = line.rstrip(b"\n").partition(b" ")
    try:
        if len(crc) != _CRC_DIGITS or int(crc, 16) != zlib.crc32(body):
            return None
        return [
            (str(text), tuple(_decode(item) for item in items)) for text, items in json.loads(body)
        ]
    except (ValueError, TypeError):
        return None


def _encode(value: Value) -> Json:
    if not isinstance(value, bytes):
        return value
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _decode(value: Json) -> Value:
    match value:
        case {"text": str(text)}:
            return text.encode()
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case str() | int() | float() | None:
            return value
        case _:
            raise ValueError("no value of a statement")
