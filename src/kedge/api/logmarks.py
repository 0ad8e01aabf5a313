"""Marks in a log that is followed: where a client that lost its engine goes on. kedge's own. Pure.

A client of `/logs` that asks with ``marks=1`` is sent a marked stream: stdcopy frames, also for a
terminal, and after each piece of the log a frame of stream 4 that says how far the log has been
sent. What lies before a mark is shown once the mark is there, and ``after=MARK`` continues behind
it; so whoever follows gets each byte once, whatever dies in between.

A mark is ``STAMP/SIZE``: everything older than the stamp, and so many bytes of what carries it.
"""

from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import format_rfc3339

MARKED_STREAM: Final = "application/vnd.kedge.marked-stream"
MARK: Final = 4
"""The number of the frames' stream."""

_STAMP_LENGTH: Final = len(format_rfc3339(0))


class LogMark(NamedTuple):
    """How far a log was sent."""

    stamp: str
    """As `format_rfc3339` writes it."""
    size: int
    """Bytes of the lines with this stamp."""


def parse_mark(text: str) -> LogMark:
    """Return the mark that `encode_mark` wrote.

    Raises:
        InvalidParameterError: It is none.
    """
    stamp, _, size = text.partition("/")
    if len(stamp) != _STAMP_LENGTH or not (size.isascii() and size.isdigit() and len(size) <= 18):
        raise InvalidParameterError(f"invalid mark of a log: {text[:60]!r}")
    return LogMark(stamp, int(size))


def encode_mark(mark: LogMark) -> bytes:
    """Return what a frame that tells a client of ``mark`` holds; a newline ends it."""
    return f"{mark.stamp}/{mark.size}\n".encode()
