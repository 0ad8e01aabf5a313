"""Moves bytes between the standard streams and a hijacked connection, in one poll loop.

Output is either raw (a terminal) or stdcopy frames: ``[stream, 0, 0, 0, size (big-endian)]``.
Input is raw; its end is told by closing the writing half. A full pipe on one side stops reading
from the other, so nothing is buffered without bound.
"""

from __future__ import annotations

import os
import select

from kedge.errdefs import SystemFailureError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from kedge.client.http import Connection


_CHUNK: Final = 32768
_HEADER: Final = 8
_SHUT_WR: Final = 1
_PENDING_INPUT_MAX: Final = 1 << 17
_SYSTEM_ERROR: Final = 3
_GONE: Final = select.POLLHUP | select.POLLERR


class Targets(NamedTuple):
    """Descriptors of the standard streams; -1 is not connected."""

    stdin: int = -1
    stdout: int = 1
    stderr: int = 2


class Demultiplexer:
    """Takes stdcopy frames apart, however they are cut."""

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        """Hand every piece of output to ``write`` with its stream's number."""
        self._write = write
        self._header = b""
        self._stream = 1
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            SystemFailureError: A frame of the engine's own that tells of a failure.
        """
        position = 0
        while position < len(data):
            if not self._left:
                need = _HEADER - len(self._header)
                self._header += data[position : position + need]
                position += need
                if len(self._header) < _HEADER:
                    return
                self._stream = self._header[0]
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            if self._stream == _SYSTEM_ERROR:
                raise SystemFailureError(
                    f"error from the engine in the stream: {piece.decode('utf-8', 'replace')}"
                )
            self._write(self._stream, piece)


class Stream:
    """One attached session."""

    def __init__(
        self, connection: Connection, pending: bytes, *, targets: Targets, multiplexed: bool
    ) -> None:
        """Take over ``connection`` and the bytes already read from it."""
        connection.settimeout(0)
        self._connection = connection
        self._stdin = targets.stdin
        self._outputs = {0: targets.stdout, 1: targets.stdout, 2: targets.stderr}
        self._feed = Demultiplexer(self._write).feed if multiplexed else self._write_raw
        self._unsent = b""
        self._input_ended = targets.stdin < 0
        self._arrived = pending
        self.on_input: Callable[[bytes], None] = _ignore
        """Told what the person types, before it is sent."""

    def run(self, wakeup: int, on_wakeup: Callable[[], None]) -> None:
        """Move bytes until the engine ends the stream.

        Args:
            wakeup: A descriptor to watch besides, such as a `SignalPipe`.
            on_wakeup: Called when it is readable.

        Raises:
            BrokenPipeError: Whoever read our output has gone.
        """
        if self._arrived:
            self._feed(self._arrived)
        while True:
            events = self._poll(wakeup)
            if wakeup in events:
                on_wakeup()
            if events.get(self._connection.fileno(), 0) & select.POLLOUT:
                self._send()
            if self._stdin in events:
                self._read_input()
            if (
                events.get(self._connection.fileno(), 0) & (select.POLLIN | _GONE)
                and not self._receive()
            ):
                return

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _poll(self, wakeup: int) -> dict[int, int]:
        poller = select.poll()
        poller.register(wakeup, select.POLLIN)
        wanted = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        poller.register(self._connection.fileno(), wanted)
        if not self._input_ended and len(self._unsent) < _PENDING_INPUT_MAX:
            poller.register(self._stdin, select.POLLIN)
        return dict(poller.poll())

    def _read_input(self) -> None:
        try:
            data = os.read(self._stdin, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            # A terminal that has hung up.
            data = b""
        self.on_input(data)
        self._unsent += data
        self._input_ended = not data
        self._send()

    def _send(self) -> None:
        try:
            if self._unsent:
                sent = self._connection.send(self._unsent)
                self._unsent = self._unsent[sent:]
            if self._input_ended and not self._unsent:
                self._connection.shutdown(_SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            # The container reads no more; its output still comes.
            self._unsent, self._input_ended = b"", True

    def _receive(self) -> bool:
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._feed(data)
        return bool(data)

    def _write_raw(self, data: bytes) -> None:
        self._write(1, data)

    def _write(self, stream: int, data: bytes) -> None:
        target = self._outputs.get(stream, -1)
        if target >= 0:
            write_all(target, data)


def _ignore(_data: bytes) -> None:
    """Do nothing with input nobody watches."""


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, also where somebody made the descriptor non-blocking."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(descriptor, select.POLLOUT)
            poller.poll()


def wait_readable(descriptor: int, wakeup: int, on_wakeup: Callable[[], None]) -> None:
    """Return when ``descriptor`` is readable; meanwhile watch ``wakeup`` as `Stream.run` does."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.register(wakeup, select.POLLIN)
    while True:
        ready = dict(poller.poll())
        if wakeup in ready:
            on_wakeup()
        if descriptor in ready:
            return
