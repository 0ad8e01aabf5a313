"""Has the kernel forget connections of containers that are gone, in a thread of its own.

A client that goes on sending to a published port would otherwise be led to the address of a
container that is no more, for as long as it sends. The kernel looks through all it tracks for one
answer, 15 ms of it on a host with the usual table, so requests that come together share a look, and
what nobody waits for (connections that a container without ports has made itself) waits for the
next one.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kedge.linux.conntrack import Flows

_WAITING_MAX: Final = 512


class FlowSweeper:
    """One daemon thread; started when it is first needed."""

    def __init__(self, forget: Callable[[Sequence[Flows]], None]) -> None:
        """Forget flows by calling ``forget``, which must not raise."""
        self._forget = forget
        self._changed = threading.Condition()
        self._waiting: dict[Flows, None] = {}
        self._is_wanted = False
        self._is_busy = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def submit(self, flows: Iterable[Flows], *, soon: bool) -> None:
        """Have flows forgotten: soon, or together with the next that are."""
        with self._changed:
            self._waiting.update(dict.fromkeys(flows))
            if self._is_closing or not (soon or len(self._waiting) > _WAITING_MAX):
                return
            self._is_wanted = bool(self._waiting)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="kedge-network-flows", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything wanted soon is forgotten; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._is_wanted and not self._is_busy, timeout_s
            )

    def close(self) -> None:
        """Finish what is wanted soon and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._is_wanted or self._is_closing)
                if not self._is_wanted:
                    return
                flows, self._waiting, self._is_wanted = list(self._waiting), {}, False
                self._is_busy = True
            self._forget(flows)
