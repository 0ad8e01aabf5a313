"""What every log driver that can be read back offers, and its output as clients get it.

A log is a run of *batches*: lines of one stream with one time stamp. Batches exist because a driver
stores many lines at once and a client gets many at once; whoever needs single lines splits them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote_plus

import msgspec

STDOUT: Final = 1
STDERR: Final = 2
_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")


class LogBatch(NamedTuple):
    """Lines that were taken in together."""

    stream: int
    stamp: bytes
    """RFC 3339 in UTC with nine decimals, so that stamps sort as text."""
    data: bytes
    """Whole lines, or one piece of a line, which then does not end in a newline."""
    attrs: bytes = b""
    """A JSON object the lines carry; empty for none."""


class ReadOptions(NamedTuple):
    """Which part of a log is wanted. Order of choice: `tail`, then times, then streams."""

    since_ns: int = 0
    until_ns: int = 0
    """0 for no limit."""
    tail: int = -1
    """How many of the last entries; -1 for all."""
    stdout: bool = True
    stderr: bool = True

    def wants(self, stream: int) -> bool:
        """Return whether batches of ``stream`` are asked for."""
        return self.stdout if stream == STDOUT else self.stderr


class LogReader(Protocol):
    """Reads one container's log; any number of readers may work at once."""

    def read(self, options: ReadOptions) -> Iterator[list[LogBatch]]:
        """Yield what is in the log now, oldest first, some batches at a time. Blocks on disk."""
        ...

    def follow(self, options: ReadOptions, ended: asyncio.Event) -> AsyncIterator[list[LogBatch]]:
        """Yield what is in the log and then what comes, each entry once and in order.

        An empty list says once that everything there was has been yielded, and the rest is to come.
        Ends when ``ended`` is set and everything written before that was yielded, or when an
        entry is newer than ``until_ns``. Never blocks the event loop.
        """
        ...


def encode_batches(
    batches: Sequence[LogBatch],
    *,
    framed: bool,
    by_line: bool = False,
    timestamps: bool = False,
    details: bool = False,
) -> bytes:
    """Return ``batches`` as a client of ``/logs`` gets them.

    Args:
        batches: In order.
        framed: Multiplex with stdcopy frames; off for a terminal's log.
        by_line: One frame for each line; otherwise as few as possible.
        timestamps: Begin each line, and each piece of a long line, with its stamp.
        details: Begin each, after the stamp, with its attributes as ``key=value,key=value``.
    """
    parts: list[bytes] = []
    pending: list[bytes] = []
    stream = STDOUT
    for batch in batches:
        if framed and batch.stream != stream:
            _flush(parts, pending, stream, by_line=by_line)
            stream = batch.stream
        prefix = batch.stamp + b" " if timestamps else b""
        if details:
            prefix += _show_attributes(batch.attrs)
        pending.append(_prefixed(batch.data, prefix) if prefix else batch.data)
    if framed:
        _flush(parts, pending, stream, by_line=by_line)
        return b"".join(parts)
    return b"".join(pending)


def _flush(parts: list[bytes], pending: list[bytes], stream: int, *, by_line: bool) -> None:
    """Append what is pending as one frame, or as one for each line."""
    whole = b"".join(pending)
    pending.clear()
    # Only at a newline: `splitlines` would also cut at a carriage return.
    payloads = _LINE.findall(whole) if by_line else [whole] if whole else []
    for payload in payloads:
        parts.append(bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big"))
        parts.append(payload)


def _prefixed(data: bytes, prefix: bytes) -> bytes:
    if data.endswith(b"\n"):
        return prefix + data[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
    return prefix + data


@lru_cache(maxsize=64)
def _show_attributes(attrs: bytes) -> bytes:
    """Return attributes as ``logs --details`` shows them; a blank stands for none."""
    found = msgspec.json.decode(attrs, type=dict[str, str]) if attrs else {}
    pairs = (f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(found.items()))
    return ",".join(pairs).encode() + b" "
