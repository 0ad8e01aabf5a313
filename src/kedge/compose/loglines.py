"""Stored output of several containers as one sequence of lines, in the order they were written."""

import heapq
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from kedge.client.http import EngineClient, Query, Response
from kedge.client.streams import Demultiplexer

_PIECE: Final = 16384
"""A longer line is stored in pieces of this size, each with a stamp of its own."""
_STAMP: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


class LogLine(NamedTuple):
    """One line."""

    stamp: bytes
    """When it was written; of fixed width, so that it sorts."""
    name: str
    stream: int
    text: bytes
    """Without stamp and line end."""


def read_lines(client: EngineClient, container: str, name: str, query: Query) -> Iterator[LogLine]:
    """Yield a container's stored lines, oldest first.

    Args:
        client: A connection nobody else uses until the end.
        container: Its id.
        name: What `LogLine.name` says.
        query: ``tail``, ``since`` and the like; without ``follow``.
    """
    answer = client.get(f"/containers/{container}/logs", {**query, "timestamps": True})
    pending: dict[int, bytes] = {}
    for stream, data in _pieces(answer):
        *lines, pending[stream] = (pending.get(stream, b"") + data).split(b"\n")
        for line in lines:
            yield _line(name, stream, line)
    for stream, rest in pending.items():
        if rest:
            yield _line(name, stream, rest)


def merged(sources: Iterable[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Yield the lines of all sources by their stamps; those of one source stay in order."""
    return heapq.merge(*sources, key=lambda line: line.stamp)


def _pieces(answer: Response) -> Iterator[tuple[int, bytes]]:
    if "multiplexed" not in answer.headers.get("content-type", ""):
        for chunk in answer.chunks():
            yield 1, chunk
        return
    found: list[tuple[int, bytes]] = []
    feed = Demultiplexer(lambda stream, data: found.append((stream, data))).feed
    for chunk in answer.chunks():
        feed(chunk)
        yield from found
        found.clear()


def _line(name: str, stream: int, line: bytes) -> LogLine:
    stamp, _, text = line.partition(b" ")
    position = _PIECE
    while (found := _STAMP.match(text, position)) is not None:
        text = text[:position] + text[found.end() :]
        position += _PIECE
    return LogLine(stamp, name, stream, text)
