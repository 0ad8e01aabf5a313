"""Progress bars with rich, one a layer; lines that are no layer's scroll by above them."""

import os
from collections.abc import Iterable
from typing import Final, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject

_DONE: Final = frozenset(
    {
        *("Pull complete", "Already exists", "Download complete", "Done", "done"),
        *("Pushed", "Layer already exists"),
    }
)


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
        transient=False,
    )
    tasks: dict[str, TaskID] = {}
    pending = ""
    with progress:
        for message in messages:
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
