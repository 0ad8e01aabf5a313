"""Removes links in the background.

Taking a link down costs the kernel some twenty milliseconds (it waits until no packet can still
use it), which nobody should wait for. What the link stood for, its addresses above all, is given
back only when it is really gone.
"""

import queue
import threading
from collections.abc import Callable

from kedge.linux.netlink import NetlinkError


class Reaper:
    """One daemon thread that removes links in the order they are handed to it."""

    def __init__(self, remove: Callable[[str], object]) -> None:
        """Remove links by calling ``remove`` with their names; the thread starts when needed."""
        self._remove = remove
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._lock = threading.Condition()
        self._pending = 0
        self._thread: threading.Thread | None = None

    def submit(self, link: str, done: Callable[[], None]) -> None:
        """Remove ``link`` soon, then call ``done`` in the reaper's thread.

        ``done`` is not called when the kernel refuses; the record stays and the next start of the
        engine tries again.
        """
        with self._lock:
            self._pending += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="kedge-network-reaper", daemon=True
                )
                self._thread.start()
        self._queue.put((link, done))

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything submitted is removed; tell whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: self._pending == 0, timeout_s)

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            link, done = job
            try:
                self._remove(link)
                done()
            except NetlinkError:
                pass
            finally:
                with self._lock:
                    self._pending -= 1
                    self._lock.notify_all()
