"""What people read: tables as wide as their content or the terminal, times in words, short ids."""

from __future__ import annotations

import os
import sys

from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.durations import SECOND, human_duration
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.ids import short_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final


_GAP: Final = 3
COLUMN_MIN: Final = 10
_NARROWEST: Final = 12


def print_lines(lines: Sequence[str]) -> None:
    """Print each line."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, column_min: int = COLUMN_MIN
) -> None:
    """Print columns as Docker does; on a terminal the widest ones are cut so that lines fit."""
    sys.stdout.write(format_table(header, rows, terminal_width(), column_min=column_min))


def format_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int = 0,
    *,
    column_min: int = COLUMN_MIN,
) -> str:
    """Return the lines of a table, padded to the widest cells.

    Args:
        header: Heading of each column.
        rows: Cells.
        width: Cut the widest columns so that lines are no longer; 0 lets them be.
        column_min: No column but the last is narrower.
    """
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    if width:
        gaps = sum(max(_GAP, column_min - column) for column in widths[:-1])
        widths = _fit(widths, width - gaps)
    lines: list[str] = []
    for row in cells:
        cut = [
            shorten(cell, room) if width else cell for cell, room in zip(row, widths, strict=True)
        ]
        padded = [
            cell.ljust(max(room + _GAP, column_min))
            for cell, room in zip(cut[:-1], widths, strict=False)
        ]
        lines.append("".join(padded) + cut[-1] + "\n")
    return "".join(lines)


def _fit(widths: list[int], room: int) -> list[int]:
    widths = list(widths)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widest = widths.index(max(widths))
        second = max([_NARROWEST, *(w for i, w in enumerate(widths) if i != widest)])
        excess = sum(widths) - room
        widths[widest] -= max(1, min(excess, widths[widest] - second))
    return widths


def terminal_width() -> int:
    """Return the columns of the terminal on standard output; 0 where it is none."""
    if not sys.stdout.isatty():
        return 0
    return os.get_terminal_size(sys.stdout.fileno()).columns


def shorten(text: str, width: int) -> str:
    """Return ``text`` cut to ``width`` characters with an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def show_id(object_id: str, *, truncate: bool) -> str:
    """Return an id as tables show it."""
    return short_id(object_id) if truncate else object_id


def ago(created_s: float) -> str:
    """Return how long ago a moment was, in Docker's words."""
    return f"{human_duration(SYSTEM_CLOCK.time_ns() - int(created_s * SECOND))} ago"


def local_time(moment_s: float) -> str:
    """Return a moment as Go prints it: ``2026-11-23 20:17:20 +0000 UTC``."""
    import time  # noqa: PLC0415 - rarely needed

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment_s))


def rfc3339(moment_s: float) -> str:
    """Return a moment in local time as RFC 3339 has it, to the second."""
    import time  # noqa: PLC0415 - rarely needed

    local = time.localtime(moment_s)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + shown
