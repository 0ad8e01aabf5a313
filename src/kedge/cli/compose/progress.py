"""Progress of a Compose command on standard error.

A verb opens it, hands `Progress.report` to whatever works, and closes it at the end::

    with open_progress(options, app.env, "up") as progress:
        execute(plan.steps, Performer(Stage(app, pool, progress.report), images))
"""

import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from kedge.cli.flags import Options
from kedge.compose.events import Event


class Progress:
    """Shows events, one line each."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._quiet = quiet
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._stream.flush()

    def report(self, event: Event) -> None:
        """Show an event; called from several threads."""
        if self._quiet:
            return
        with self._lock:
            if event.output:
                self._stream.write(event.output)
                return
            details = f" {event.details}" if event.details else ""
            self._stream.write(f" {event.id}  {event.text}{details}\n")


def open_progress(options: Options, env: Mapping[str, str], operation: str) -> Progress:
    """Return what shows the progress of ``operation`` as the user wants it."""
    del operation
    mode = options.text("progress") or env.get("COMPOSE_PROGRESS", "") or "auto"
    return Progress(sys.stderr, quiet=mode == "quiet")
