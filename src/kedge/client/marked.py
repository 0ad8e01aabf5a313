"""A log that is followed over restarts of its engine, each byte once: see `kedge.api.logmarks`."""

import sys
import time
from collections.abc import Callable
from typing import Final, TypeVar

from kedge.api.logmarks import MARK, MARKED_STREAM
from kedge.client.hosts import Host
from kedge.client.http import EngineClient, Query, Response
from kedge.client.streams import Demultiplexer
from kedge.errdefs import UnavailableError

_PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.05
Answer = TypeVar("Answer")


class MarkedOutput:
    """Takes a marked stream apart; what no mark follows is never shown, it will come again."""

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        """Hand every piece of output to ``write`` with its stream's number."""
        self.mark = ""
        """Behind which to go on; empty before the first one."""
        self._write = write
        self._pieces: list[tuple[int, bytes]] = []
        self._part = b""
        self._demultiplexer = Demultiplexer(self._take)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._demultiplexer.feed(data)

    def reset(self) -> None:
        """Forget what no mark has confirmed: the stream has broken off."""
        self._pieces.clear()
        self._part = b""
        self._demultiplexer = Demultiplexer(self._take)

    def _take(self, stream: int, piece: bytes) -> None:
        if stream != MARK:
            self._pieces.append((stream, piece))
            return
        self._part += piece
        if not self._part.endswith(b"\n"):
            return
        self.mark, self._part = self._part[:-1].decode(), b""
        pieces, self._pieces = self._pieces, []
        for number, output in pieces:
            self._write(number, output)


def follow_log(
    client: EngineClient,
    path: str,
    query: Query,
    write: Callable[[int, bytes], None],
    plain: Callable[[Response], None],
    gone: Callable[[Host], None] | None = None,
) -> None:
    """Show a log until its container has ended, also when the engine ends and comes back.

    Args:
        client: Asks for the log.
        path: Where it is.
        query: Which part of it.
        write: Takes output with its stream's number.
        plain: Shows the answer of an engine that knows no marks; nobody reconnects to that.
        gone: Called with the engine's address when it has ended; by default the user is told.

    Raises:
        UnavailableError: There is no engine, or none came back.
    """
    gone = gone or tell_gone
    output = MarkedOutput(write)
    response = client.get(path, {**query, "marks": True})
    if response.headers.get("content-type") != MARKED_STREAM:
        plain(response)
        return
    while True:
        try:
            for chunk in response.chunks():
                output.feed(chunk)
        except UnavailableError:
            if not output.mark:
                raise
        else:
            return
        output.reset()
        gone(client.host)
        again: Query = {**query, "marks": True, "after": output.mark}
        response = patiently(client, lambda: client.get(path, again))  # noqa: B023 - called at once


def tell_gone(host: Host) -> None:
    """Say that the engine is waited for."""
    sys.stderr.write(f"kedge: the engine at {host} is gone: waiting for it to come back\n")
    sys.stderr.flush()


def patiently(client: EngineClient, ask: Callable[[], Answer]) -> Answer:
    """Return what the engine answers that comes back in time.

    Raises:
        UnavailableError: None came back within a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except UnavailableError:
            # An answer that never came leaves a connection nobody can use.
            client.close()
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
