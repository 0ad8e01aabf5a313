"""A project's events, as something to wait for."""

import contextlib
import json
import threading

from kedge.client.http import EngineClient
from kedge.compose import labels
from kedge.compose.clients import ClientPool
from kedge.errdefs import KedgeError


class Changes:
    """Tells that something happened to a container of a project."""

    def __init__(self, pool: ClientPool, project: str) -> None:
        """Follow ``project`` from the first `wait` on."""
        self._client = EngineClient(pool.host)
        self._project = project
        self._condition = threading.Condition()
        self._count = 0
        self._thread: threading.Thread | None = None

    def count(self) -> int:
        """Return how much has happened; take it before looking."""
        with self._condition:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, daemon=True)
                self._thread.start()
            return self._count

    def wait(self, seen: int, seconds: float) -> None:
        """Return when more has happened than ``seen``, or after ``seconds``."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, seconds)

    def _follow(self) -> None:
        filters = json.dumps(
            {
                "type": ["container"],
                "label": labels.project_filter(self._project),
            }
        )
        # Without the stream there is still the look every half second.
        with contextlib.suppress(KedgeError, OSError):
            answer = self._client.get("/events", {"filters": filters})
            # What happened before the stream began may have been missed: look again.
            self._tell()
            for _ in answer.messages():
                self._tell()

    def _tell(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()
