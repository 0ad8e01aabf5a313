"""The terminal of the person at the keyboard: raw mode and its size."""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


def is_tty(descriptor: int) -> bool:
    """Whether a descriptor is a terminal; a closed one is none."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def terminal_size() -> tuple[int, int] | None:
    """Return rows and columns of the terminal on standard output or input, or None."""
    for descriptor in (1, 0):
        try:
            size = os.get_terminal_size(descriptor)
        except OSError:
            continue
        return size.lines, size.columns
    return None


class RawMode:
    """While entered, a terminal hands every key on as it is; it is always put back."""

    def __init__(self, descriptor: int, *, wanted: bool) -> None:
        """Prepare for ``descriptor``; nothing happens where it is not ``wanted``."""
        self._descriptor = descriptor
        self._wanted = wanted
        self._before: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> Self:
        """Switch to raw mode."""
        if self._wanted:
            import termios  # noqa: PLC0415 - as the next one: without a terminal there is no need
            import tty  # noqa: PLC0415

            self._before = termios.tcgetattr(self._descriptor)
            tty.setraw(self._descriptor, termios.TCSADRAIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: object,
    ) -> None:
        """Put the old mode back."""
        if self._before is not None:
            import termios  # noqa: PLC0415 - loaded by now

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
