"""What shows the events of a Compose command where there is no terminal to draw on.

`Progress` may be entered again. Events that come while it is not entered are lines.
"""

import json
import threading
from types import TracebackType
from typing import Self, TextIO

from kedge.compose.events import Event


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
