"""Lines of several containers on one terminal: a prefix and a colour for each.

What a container wrote to its standard error goes to ours. Lines are never mixed: a line is printed
when it is whole, or when its container is done.
"""

import os
import sys
import threading
from collections.abc import Sequence
from typing import Final

from kedge.client.streams import write_all
from kedge.lib.clock import SYSTEM_CLOCK, format_rfc3339

_PLAIN_COLOURS: Final = ("36", "33", "32", "35", "34")
_COLOURS: Final = (*_PLAIN_COLOURS, *(f"{one};1" for one in _PLAIN_COLOURS))
_STDERR: Final = 2


class LogPrinter:
    """Prints what containers write; from several threads."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        prefix: bool = True,
        color: bool = False,
        timestamps: bool = False,
    ) -> None:
        """Prepare for containers by the names they are shown with."""
        self._lock = threading.Lock()
        self._wants_prefix = prefix
        self._color = color
        self._timestamps = timestamps
        self._names: list[str] = []
        self._width = 0
        self._pending: dict[tuple[str, int], bytes] = {}
        self.expect(names)

    def expect(self, names: Sequence[str]) -> None:
        """Make room for more names; colours follow their order."""
        with self._lock:
            self._names = sorted({*self._names, *names})
            self._width = max([self._width, *(len(name) for name in names)])

    def write(self, name: str, stream: int, data: bytes) -> None:
        """Take what a container wrote to its standard output (1) or error (2)."""
        with self._lock:
            *lines, rest = (self._pending.pop((name, stream), b"") + data).split(b"\n")
            if rest:
                self._pending[name, stream] = rest
            if lines:
                self._print(name, stream, lines)

    def end(self, name: str) -> None:
        """Print what a container left unfinished."""
        with self._lock:
            for stream in (1, _STDERR):
                rest = self._pending.pop((name, stream), b"")
                if rest:
                    self._print(name, stream, [rest])

    def note(self, text: str) -> None:
        """Print a line of our own."""
        with self._lock:
            write_all(1, f"{text}\n".encode())

    def _print(self, name: str, stream: int, lines: Sequence[bytes]) -> None:
        sys.stdout.flush()
        prefix = self._prefix(name)
        if self._timestamps:
            prefix += f"{format_rfc3339(SYSTEM_CLOCK.time_ns())} ".encode()
        data = b"".join(prefix + line + b"\n" for line in lines)
        write_all(_STDERR if stream == _STDERR else 1, data)

    def _prefix(self, name: str) -> bytes:
        if not self._wants_prefix:
            return b""
        text = f"{name.ljust(self._width)}  | "
        if not self._color:
            return text.encode()
        position = self._names.index(name) if name in self._names else 0
        return f"\x1b[{_COLOURS[position % len(_COLOURS)]}m{text}\x1b[0m".encode()


def wants_color(ansi: str, *, no_color: bool = False) -> bool:
    """Whether lines get colours: ``--ansi``, ``--no-color``, ``NO_COLOR`` or a terminal say so."""
    if no_color or ansi == "never" or (os.environ.get("NO_COLOR") and ansi != "always"):
        return False
    return ansi == "always" or sys.stdout.isatty()
