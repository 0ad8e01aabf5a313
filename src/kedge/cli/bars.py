"""Progress bars with rich, one a layer; lines that are no layer's scroll by above them.

Below the bars are the stages of a build that run at this moment, each with its step and how long
that has taken.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from kedge.lib.fields import flag, number, text
from kedge.lib.jsontypes import JsonObject

_DONE: Final = frozenset(
    {
        *("Pull complete", "Already exists", "Download complete", "Done", "done"),
        *("Pushed", "Layer already exists"),
    }
)


class RunningStages:
    """What each running stage is at; drawn anew several times a second."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Measure with ``now``, in seconds."""
        self._now = now
        self._steps: dict[str, tuple[str, float]] = {}

    def take(self, message: JsonObject) -> None:
        """Learn from the marks of a message."""
        name = text(message, "stage", "name")
        if begins := text(message, "stage", "begins"):
            self._steps[name] = (begins.partition("\n")[0], self._now())
        elif name and flag(message, "stage", "ends"):
            self._steps.pop(name, None)

    def __rich__(self) -> Table:
        """Return one line for each stage."""
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        # A copy: lines are drawn by another thread than the one that learns.
        for name, (step, begun_s) in list(self._steps.items()):
            table.add_row(Text(name), Text(step), f"{self._now() - begun_s:.1f}s")
        return table

    def clear(self) -> None:
        """Forget all stages: the build has ended."""
        self._steps.clear()


def show_bars(messages: Iterable[JsonObject], stream: TextIO) -> None:
    """Draw ``messages`` on a terminal until they end."""
    console = Console(file=stream, highlight=False, no_color="NO_COLOR" in os.environ)
    progress = Progress(
        TextColumn("{task.fields[layer]:<14}"),
        TextColumn("{task.description:<18}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
    )
    stages = RunningStages()
    tasks: dict[str, TaskID] = {}
    pending = ""
    with Live(Group(progress, stages), console=console, refresh_per_second=8):
        for message in messages:
            stages.take(message)
            layer, status = text(message, "id"), text(message, "status")
            if "stream" in message:
                # Steps write pieces of lines; a bar below them needs whole ones.
                *lines, pending = (pending + text(message, "stream")).split("\n")
                for line in lines:
                    console.print(Text.from_ansi(line), soft_wrap=True)
            elif layer and "progressDetail" in message:
                _update(progress, tasks, message)
            elif status:
                prefix = f"{layer}: " if layer else ""
                console.print(Text(prefix + status), soft_wrap=True)
        if pending:
            console.print(Text.from_ansi(pending), soft_wrap=True)
        stages.clear()


def _update(progress: Progress, tasks: dict[str, TaskID], message: JsonObject) -> None:
    layer, status = text(message, "id"), text(message, "status")
    if layer not in tasks:
        tasks[layer] = progress.add_task(status, total=None, layer=layer)
    task = tasks[layer]
    total = number(message, "progressDetail", "total")
    current = number(message, "progressDetail", "current")
    if total:
        progress.update(task, description=status, total=total, completed=current)
    elif status in _DONE:
        known = next((entry.total for entry in progress.tasks if entry.id == task), None) or 1
        progress.update(task, description=status, total=known, completed=known)
    else:
        progress.update(task, description=status)
