"""Signals as something to poll for, so that one loop sees them, the terminal and the engine."""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
    from types import FrameType
    from typing import Final, Self
else:
    # What `signal` itself is made of; that would only add names from `enum`.
    import _signal as signal

PROXIED: Final = tuple(
    int(number)
    for number in (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTERM,
    )
)
"""What ``run`` and ``attach`` pass on to the container."""

RESIZED: Final = int(signal.SIGWINCH)

LOOK_S: Final = 0.25
"""The longest the main thread may wait on a lock at a time, where a signal shall interrupt it.

Python runs a handler between two instructions. A signal that comes after the last of them, and
before the thread sleeps, wakes nobody: it is only seen when the wait ends.
"""


def signal_name(number: int) -> str:
    """Return a signal's name as the engine takes it."""
    from signal import Signals  # noqa: PLC0415 - only when one comes

    return Signals(number).name


def interrupt_on_signals() -> None:
    """Let SIGINT and SIGTERM raise `KeyboardInterrupt`, also where the shell had one ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


class SignalPipe:
    """While entered, the given signals do nothing but make `fileno` readable."""

    def __init__(self, numbers: Iterable[int]) -> None:
        """Prepare for ``numbers``."""
        self._numbers = tuple(numbers)
        self._handlers: list[tuple[int, object]] = []
        self._reader = self._writer = -1
        self._wakeup = -1

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._handlers.append((number, signal.signal(number, _ignore)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: object,
    ) -> None:
        """Put the old handlers back."""
        for number, handler in self._handlers:
            if callable(handler) or isinstance(handler, int):
                signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """Return what is readable when a signal came."""
        return self._reader

    def take(self) -> list[int]:
        """Return the signals that came, in order."""
        try:
            return list(os.read(self._reader, 64))
        except BlockingIOError:
            return []


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wakeup descriptor tells the loop."""
