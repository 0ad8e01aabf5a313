"""Waking readers when a log grows: one inotify descriptor for all directories, on the event loop.

One per engine, because a host allows a user only some hundred inotify instances. Where not even
one, or no further watch, is to be had, a watch wakes its reader by the clock instead.
"""

import asyncio
import contextlib
import os
from collections.abc import Generator
from typing import Final

from kedge.linux import inotify

_MASK: Final = (
    inotify.IN_MODIFY
    | inotify.IN_CREATE
    | inotify.IN_MOVED_FROM
    | inotify.IN_MOVED_TO
    | inotify.IN_DELETE
    | inotify.IN_ONLYDIR
)
_READ_SIZE: Final = 65536
_POLL_S: Final = 0.25


class Watch:
    """One reader's interest in a directory."""

    def __init__(self, poll_s: float | None) -> None:
        self._poll_s = poll_s
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Say that something may have changed."""
        self._changed.set()

    def clear(self) -> None:
        """Forget what was said so far; do this before looking, not after."""
        self._changed.clear()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Return when something may have changed since `clear`, or after ``timeout_s``."""
        limits = [limit for limit in (timeout_s, self._poll_s) if limit is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(limits) if limits else None):
                await self._changed.wait()


class DirectoryWatcher:
    """Wakes the watches of a directory when a file in it is written, made, renamed or removed."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._fd = -1
        self._watches: dict[int, set[Watch]] = {}

    @contextlib.contextmanager
    def watch(self, directory: str) -> Generator[Watch]:
        """Give a watch on ``directory`` for the length of the block; call on the event loop."""
        try:
            number = self._add(directory)
        except OSError:
            yield Watch(_POLL_S)
            return
        watch = Watch(None)
        self._watches.setdefault(number, set()).add(watch)
        try:
            yield watch
        finally:
            self._remove(number, watch)

    def close(self) -> None:
        """Stop; watches still in use are not woken any more."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._watches.clear()

    def _add(self, directory: str) -> int:
        if self._fd < 0:
            self._fd = inotify.init()
            asyncio.get_running_loop().add_reader(self._fd, self._read)
        return inotify.add_watch(self._fd, directory, _MASK)

    def _remove(self, number: int, watch: Watch) -> None:
        sharers = self._watches.get(number)
        if sharers is None:
            return
        sharers.discard(watch)
        if not sharers:
            del self._watches[number]
            # The directory may be gone, and the watch with it.
            with contextlib.suppress(OSError):
                inotify.remove_watch(self._fd, number)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        for event in inotify.parse_events(data):
            if event.mask & inotify.IN_Q_OVERFLOW:
                woken = {watch for sharers in self._watches.values() for watch in sharers}
            else:
                woken = self._watches.get(event.watch, set())
            for watch in woken:
                watch.wake()
            if event.mask & inotify.IN_IGNORED:
                self._watches.pop(event.watch, None)
