"""Progress on a terminal: a list of what is being done, drawn over itself ten times a second.

::

    [+] up 2/3
     ✔ Network shop_default    Created             0.1s
     ✔ Container shop-db-1     Healthy             1.2s
     ⠹ Container shop-web-1    Starting            0.3s

Lines of a build scroll by above the list. `frame` is pure; `TtyProgress` draws it.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TextIO

from kedge.cli.compose.showing import Progress, plain_line
from kedge.compose.events import Event, Status
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.units import format_size

_INTERVAL_S: Final = 0.1
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS: Final = {
    Status.DONE: ("✔", "32"),
    Status.WARNING: ("!", "33"),
    Status.ERROR: ("✘", "31"),
}
_BLUE: Final = "34"
_NARROWEST: Final = 20


@dataclass(slots=True)
class Task:
    """One resource on the list."""

    event: Event
    began_s: float
    ended_s: float | None = None


def frame(
    operation: str,
    tasks: Sequence[Task],
    now_s: float,
    *,
    width: int,
    height: int,
    color: bool,
) -> list[str]:
    """Return the lines to draw; none is wider than ``width``, and there are at most ``height``."""
    done = sum(task.ended_s is not None for task in tasks)
    lines = [_paint(f"[+] {operation} {done}/{len(tasks)}"[:width], _BLUE, color=color)]
    room = max(height - 2, 1)
    hidden = len(tasks) - room if len(tasks) > room + 1 else 0
    # What is over goes first when there is no room for everything.
    order = sorted(range(len(tasks)), key=lambda at: tasks[at].ended_s is None, reverse=True)
    chosen = sorted(order[: len(tasks) - hidden])
    names = max((len(tasks[at].event.id) for at in chosen), default=0)
    words = max((len(_words(tasks[at].event)) for at in chosen), default=0)
    lines += [
        _line(tasks[at], now_s, names=names, words=words, width=width, color=color) for at in chosen
    ]
    if hidden:
        lines.append(f" ... {hidden} more"[:width])
    return lines


def _line(task: Task, now_s: float, *, names: int, words: int, width: int, color: bool) -> str:
    seconds = f"{(task.ended_s or now_s) - task.began_s:.1f}s"
    if task.ended_s is None:
        mark, tint = _SPINNER[int(now_s / _INTERVAL_S) % len(_SPINNER)], _BLUE
    else:
        mark, tint = _MARKS.get(task.event.status, _MARKS[Status.DONE])
    text = f"{task.event.id:<{names}}  {_words(task.event):<{words}}"
    room = max(width - len(seconds) - 5, _NARROWEST)
    text = text if len(text) <= room else f"{text[: room - 1]}…"
    return f" {_paint(mark, tint, color=color)} {text:<{room}} {seconds}"


def _words(event: Event) -> str:
    words = [event.text, event.details.partition("\n")[0]]
    if event.total and event.status is Status.WORKING:
        words.append(f"{format_size(event.current, digits=3)}/{format_size(event.total, digits=3)}")
    return " ".join(word for word in words if word)


def _paint(text: str, tint: str, *, color: bool) -> str:
    return f"\x1b[{tint}m{text}\x1b[0m" if color else text


class TtyProgress(Progress):
    """Draws the list while entered."""

    def __init__(
        self,
        stream: TextIO,
        operation: str,
        *,
        color: bool,
        now: Callable[[], float] = SYSTEM_CLOCK.monotonic,
    ) -> None:
        """Draw on ``stream``."""
        super().__init__(stream)
        self._operation = operation
        self._color = color
        self._now = now
        self._tasks: dict[str, Task] = {}
        self._drawn = 0
        self._over = threading.Event()
        self._drawer: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin a new list."""
        self._tasks = {}
        self._drawn = 0
        self._over.clear()
        self._drawer = threading.Thread(target=self._redraw, daemon=True)
        self._drawer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Draw the list for the last time."""
        self._over.set()
        if self._drawer is not None:
            self._drawer.join()
            self._drawer = None
        with self.lock:
            # Nothing is drawn over it any more, so it may be longer than the terminal.
            self._draw(whole=True)
        self.stream.flush()

    def report(self, event: Event) -> None:
        """Take an event over; lines of output are printed at once, above the list."""
        with self.lock:
            if self._drawer is None:
                self.stream.write(plain_line(event))
                self.stream.flush()
                return
            now = self._now()
            task = self._tasks.setdefault(event.id, Task(event, now))
            task.event = event
            task.ended_s = None if event.status is Status.WORKING else now
            if event.output:
                self._draw(event.output)

    def _redraw(self) -> None:
        while not self._over.wait(_INTERVAL_S):
            with self.lock:
                self._draw()

    def _draw(self, above: str = "", *, whole: bool = False) -> None:
        """Write over what was drawn, with lines above it that stay."""
        if not self._tasks:
            return
        width, height = self._size()
        if whole:
            height = len(self._tasks) + 2
        lines = frame(
            self._operation, list(self._tasks.values()), self._now(),
            width=width, height=height, color=self._color,
        )  # fmt: skip
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        kept = "".join(f"{line}\x1b[K\n" for line in above.splitlines())
        drawn = "".join(f"{line}\x1b[K\n" for line in lines)
        self.stream.write(f"{up}\r{kept}{drawn}\x1b[J")
        self.stream.flush()
        self._drawn = len(lines)

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        # A terminal that does not know its size says 0.
        return max(size.columns or 80, _NARROWEST), max(size.lines or 24, 4)
