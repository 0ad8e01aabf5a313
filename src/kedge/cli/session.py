"""A person (or script) attached to a container: streams, terminal, window size, signals, exit code.

The order is Docker's: attach, then wait, then start, so that neither output nor exit code is lost.
"""

from __future__ import annotations

import sys

from kedge.api.detachkeys import DetachScanner, parse_detach_keys
from kedge.client.signals import PROXIED, RESIZED, SignalPipe, signal_name
from kedge.client.streams import Stream, Targets, wait_readable
from kedge.client.terminal import RawMode, is_tty, terminal_size
from kedge.errdefs import KedgeError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, Self

    from kedge.cli.wanted import Wanted
    from kedge.client.http import Connection, EngineClient


_FORCE_AFTER: Final = 3
_INTERRUPT: Final = PROXIED[1]


class Session:
    """One attached connection; enter it, start the program, then `run`."""

    def __init__(
        self,
        hijacked: tuple[Connection, bytes, Mapping[str, str]],
        wanted: Wanted,
        *,
        resize_path: str,
        control: EngineClient,
        kill_path: str = "",
        detach_keys: str = "",
    ) -> None:
        """Take over a connection.

        Args:
            hijacked: What `EngineClient.hijack` returned.
            wanted: Streams to connect.
            resize_path: Where the window's size is posted to.
            control: A connection for that and for signals.
            kill_path: Where signals are posted to; empty leaves them alone.
            detach_keys: The engine ends the stream of a terminal when these are typed; empty for
                the default.
        """
        connection, pending, headers = hijacked
        multiplexed = "multiplexed" in headers.get("content-type", "") or not wanted.tty
        self._stream = Stream(
            connection,
            pending,
            targets=Targets(
                0 if wanted.stdin else -1, 1 if wanted.stdout else -1, 2 if wanted.stderr else -1
            ),
            multiplexed=multiplexed,
        )
        self.has_detached = False
        """Whether the person typed the detach keys, so that the container lives on.

        The stream's end alone does not tell: it comes a moment before the exit is on record.
        """
        if wanted.tty and wanted.stdin:
            self._scanner = DetachScanner(parse_detach_keys(detach_keys))
            self._stream.on_input = self._scan
        self._wanted = wanted
        self._resize_path = resize_path
        self._kill_path = kill_path
        self._control = control
        self._interrupts = 0
        proxied = PROXIED if kill_path and wanted.sig_proxy else ()
        self._signals = SignalPipe((*proxied, *((RESIZED,) if wanted.tty else ())))
        self._raw = RawMode(0, wanted=wanted.tty and wanted.stdin and is_tty(0))

    def __enter__(self) -> Self:
        """Take signals and the terminal over."""
        self._signals.__enter__()
        self._raw.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        """Give signals and the terminal back."""
        self._raw.__exit__(None, None, None)
        self._signals.__exit__(None, None, None)
        self._stream.close()

    def run(self) -> None:
        """Move bytes until the program's output ends."""
        if self._wanted.tty:
            self.resize()
        sys.stdout.flush()
        self._stream.run(self._signals.fileno(), self._take_signals)

    def wait(self, waiter: EngineClient, read: Callable[[], int]) -> int:
        """Return what ``read`` makes of the answer ``waiter`` gets; signals still go through."""
        if not waiter.has_buffered() and waiter.fileno() >= 0:
            wait_readable(waiter.fileno(), self._signals.fileno(), self._take_signals)
        return read()

    def resize(self) -> None:
        """Tell the engine how large the window is."""
        size = terminal_size()
        if size is not None:
            self._post(self._resize_path, {"h": str(size[0]), "w": str(size[1])})

    def _scan(self, data: bytes) -> None:
        _, found = self._scanner.feed(data)
        self.has_detached = self.has_detached or found

    def _take_signals(self) -> None:
        for received in self._signals.take():
            if received == RESIZED:
                self.resize()
                continue
            if received == _INTERRUPT:
                self._interrupts += 1
                if self._interrupts >= _FORCE_AFTER:
                    raise KeyboardInterrupt
            self._post(self._kill_path, {"signal": signal_name(received)})

    def _post(self, path: str, query: Mapping[str, str]) -> None:
        try:
            self._control.post(path, query).read()
        except KedgeError:
            # The program has just ended: there is nothing to resize or to signal.
            return
