"""What people read: tables as wide as their content, times in words, ids cut short."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from kedge.lib.durations import human_duration
from kedge.lib.ids import short_id

_GAP: Final = 3


def print_lines(lines: Sequence[str]) -> None:
    """Print each line."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as Docker does: padded to their widest cell, the last one as it is."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        padded = [cell.ljust(width + _GAP) for cell, width in zip(row[:-1], widths, strict=False)]
        sys.stdout.write("".join(padded) + row[-1] + "\n")


def shorten(text: str, width: int) -> str:
    """Return ``text`` cut to ``width`` characters with an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def show_id(object_id: str, *, truncate: bool) -> str:
    """Return an id as tables show it."""
    return short_id(object_id) if truncate else object_id


def ago(created_s: float) -> str:
    """Return how long ago a moment was, in Docker's words."""
    return f"{human_duration(int((time.time() - created_s) * 1e9))} ago"


def is_terminal() -> bool:
    """Whether standard output is a terminal that wants colours and progress bars."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"
