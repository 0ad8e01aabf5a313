"""Sees the engine's packet filter table removed by somebody else, and says so.

``nft flush ruleset`` and many firewall tools take every table away, ours too. The kernel announces
it; a thread that sleeps until then has the table made again within milliseconds. What to do is
the caller's.
"""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable

from kedge.errdefs import KedgeError
from kedge.linux.nftables_events import removed_tables


class TableWatch:
    """One daemon thread that waits for a table to be removed."""

    def __init__(self, events: socket.socket, table: str, removed: Callable[[], None]) -> None:
        """Start to watch.

        Args:
            events: From `open_table_events`; closed here.
            table: The table's name.
            removed: Called in the watching thread when the table has been removed, perhaps by the
                engine itself, or may have been.
        """
        self._events = events
        self._table = table
        self._removed = removed
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._run, name="kedge-network-table-watch", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread; call it without a lock that ``removed`` takes."""
        os.close(self._stop_write)
        self._thread.join()
        os.close(self._stop_read)
        self._events.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._events, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _event in poll.poll()}
            if self._stop_read in ready:
                return
            names = removed_tables(self._events)
            if names is None or self._table in names:
                # A host that refuses now may refuse for good; the next change tries again.
                with contextlib.suppress(KedgeError, OSError):
                    self._removed()
