"""Progress of a Compose command on standard error: on a terminal, as lines, as JSON, or not at all.

A verb opens it, hands `Progress.report` to whatever works, and closes it at the end::

    with open_progress(options, app.env, "up") as progress:
        execute(plan.steps, Performer(Stage(app, pool, progress.report), images))

It may be entered again. Events that come while it is not entered are lines.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self, TextIO

from kedge.cli.flags import Options
from kedge.compose.events import Event
from kedge.errdefs import InvalidParameterError

_MODES: Final = ("auto", "tty", "plain", "json", "quiet")


class Progress:
    """Shows events, one line each."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self.stream = stream
        self.lock = threading.Lock()

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
        self.stream.flush()

    def report(self, event: Event) -> None:
        """Show an event; called from several threads."""
        with self.lock:
            self.stream.write(plain_line(event))


class QuietProgress(Progress):
    """Shows nothing."""

    def report(self, event: Event) -> None:
        """Show nothing."""


class JsonProgress(Progress):
    """Shows events as JSON, one object a line."""

    def report(self, event: Event) -> None:
        """Show an event."""
        line = json.dumps(json_event(event), ensure_ascii=False, separators=(",", ":"))
        with self.lock:
            self.stream.write(f"{line}\n")
            self.stream.flush()


def plain_line(event: Event) -> str:
    """Return an event as it is shown where there is no terminal; how far it is is not said."""
    if event.output:
        return event.output
    if event.total:
        return ""
    details = f" {event.details}" if event.details else ""
    return f" {event.id}  {event.text}{details}\n"


def json_event(event: Event) -> dict[str, str | int]:
    """Return an event with Docker Compose's names; what is empty is left out."""
    found: dict[str, str | int] = {
        "id": event.id,
        "status": str(event.status),
        "text": event.text,
        "details": event.output.rstrip("\n") or event.details,
        "current": event.current,
        "total": event.total,
        "percent": min(100 * event.current // event.total, 100) if event.total else 0,
    }
    return {name: content for name, content in found.items() if content}


def open_progress(options: Options, env: Mapping[str, str], operation: str) -> Progress:
    """Return what shows the progress of ``operation`` as the user wants it.

    Raises:
        InvalidParameterError: ``--progress`` or ``COMPOSE_PROGRESS`` is no mode.
    """
    mode = options.text("progress") or env.get("COMPOSE_PROGRESS", "") or "auto"
    ansi = options.text("ansi") or env.get("COMPOSE_ANSI", "") or "auto"
    if mode not in _MODES:
        raise InvalidParameterError(
            f"unsupported --progress value {mode!r}: want {', '.join(_MODES)}"
        )
    if ansi not in {"auto", "never", "always"}:
        raise InvalidParameterError(
            f"unsupported --ansi value {ansi!r}: want auto, never or always"
        )
    stream = sys.stdout if env.get("COMPOSE_STATUS_STDOUT") in {"1", "true"} else sys.stderr
    if mode == "auto":
        draws = stream.isatty() and os.environ.get("TERM", "") != "dumb" and ansi != "never"
        mode = "tty" if draws else "plain"
    match mode:
        case "quiet":
            return QuietProgress(stream)
        case "json":
            return JsonProgress(stream)
        case "tty":
            from kedge.cli.compose.ttyprogress import TtyProgress  # noqa: PLC0415 - as wanted

            color = ansi == "always" or (ansi == "auto" and not os.environ.get("NO_COLOR"))
            return TtyProgress(stream, operation, color=color)
        case _:
            return Progress(stream)
