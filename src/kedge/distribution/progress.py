"""Progress of a pull or push in Docker's words, so that any client can draw it.

Every line of ``docker pull`` or ``docker push`` is one event. Byte counts come at most ten times a
second for each layer, and always at the end.
"""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from kedge.lib.clock import Clock
from kedge.lib.ids import short_id

_MIN_INTERVAL_S: Final = 0.1

PULLING_LAYER: Final = "Pulling fs layer"
WAITING: Final = "Waiting"
DOWNLOADING: Final = "Downloading"
VERIFYING: Final = "Verifying Checksum"
DOWNLOADED: Final = "Download complete"
EXTRACTING: Final = "Extracting"
PULLED: Final = "Pull complete"
EXISTS: Final = "Already exists"

PREPARING: Final = "Preparing"
PUSHING: Final = "Pushing"
PUSHED: Final = "Pushed"
PUSH_EXISTS: Final = "Layer already exists"
MOUNTED_FROM: Final = "Mounted from"
FOREIGN_SKIPPED: Final = "Skipped foreign layer"


class PushedTag(NamedTuple):
    """What a program wants to know about a push."""

    tag: str
    digest: str
    size: int
    """Bytes of the manifest or index."""


class PullEvent(NamedTuple):
    """One progress line."""

    status: str
    id: str = ""
    """Short digest of a layer, or the tag; empty for a line about the whole pull."""
    current: int = 0
    total: int = 0
    """Both zero where there is nothing to count."""
    pushed: PushedTag | None = None
    """Instead of all others: a tag that is in the registry now."""


Progress: TypeAlias = Callable[[PullEvent], None]


class Reporter:
    """Hands events to a callback, one at a time, from whatever thread they come."""

    def __init__(self, progress: Progress, clock: Clock) -> None:
        self._progress = progress
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], float] = {}

    def line(self, status: str, event_id: str = "") -> None:
        """Report a line without counts."""
        with self._lock:
            self._progress(PullEvent(status, event_id))

    def pushed(self, tag: PushedTag) -> None:
        """Report a tag that is in the registry now."""
        with self._lock:
            self._progress(PullEvent("", pushed=tag))

    def layer(self, status: str, digest: str) -> None:
        """Report what happens to a layer."""
        self.line(status, short_id(digest))

    def count(self, status: str, digest: str, current: int, total: int) -> None:
        """Report how far a layer is, unless that was said a moment ago."""
        key = (status, digest)
        now = self._clock.monotonic()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < _MIN_INTERVAL_S and current < total:
                return
            self._last[key] = now
            self._progress(PullEvent(status, short_id(digest), current, total))
