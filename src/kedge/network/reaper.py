"""Removes links in the background.

Taking a link down costs the kernel some twenty milliseconds (it waits until no packet can still
use it), which nobody should wait for. What the link stood for, its addresses above all, is given
back only when it is really gone.
"""

import threading
from collections.abc import Callable, Sequence

from kedge.linux.netlink import NetlinkError


class Reaper:
    """One daemon thread that removes links, all that are waiting at once."""

    def __init__(self, remove: Callable[[Sequence[str]], None]) -> None:
        """Remove links by calling ``remove`` with their names; the thread starts when needed."""
        self._remove = remove
        self._changed = threading.Condition()
        self._waiting: list[tuple[str, Callable[[], None]]] = []
        self._is_busy = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def submit(self, link: str, done: Callable[[], None]) -> None:
        """Remove ``link`` soon, then call ``done`` in the reaper's thread.

        ``done`` is not called when the kernel refuses; the record stays and the next start of the
        engine tries again.
        """
        with self._changed:
            self._waiting.append((link, done))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="kedge-network-reaper", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything submitted is removed; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_busy, timeout_s
            )

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
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
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                jobs, self._waiting = self._waiting, []
                self._is_busy = True
            try:
                self._remove([link for link, _done in jobs])
            except NetlinkError:
                continue
            for _link, done in jobs:
                done()
