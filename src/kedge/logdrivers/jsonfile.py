"""Reading a log of Docker's json-file form: once, or for as long as its container runs.

The shim writes these files (`kedge.shim.jsonlog`), and dockerd writes the same. This module owns
the walk over rotated files and the choice of entries; `kedge.logdrivers.jsonlines` knows the lines,
`kedge.logdrivers.rotation` the files.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from kedge.lib.clock import SYSTEM_CLOCK, Clock, format_rfc3339
from kedge.logdrivers import rotation
from kedge.logdrivers.jsonlines import parse_lines
from kedge.logdrivers.reading import LogBatch, ReadOptions
from kedge.logdrivers.seeking import seek_time
from kedge.logdrivers.source import LogFile
from kedge.logdrivers.watch import DirectoryWatcher

# Measured: what a block becomes, line by line, is to fit into the processor's cache.
_BLOCK: Final = 128 * 1024
_NS_PER_S: Final = 1_000_000_000


class JsonFileReader:
    """Reads the log at one path; implements `kedge.logdrivers.reading.LogReader`."""

    def __init__(self, path: str, watcher: DirectoryWatcher, clock: Clock = SYSTEM_CLOCK) -> None:
        """Open nothing yet.

        Args:
            path: The file that is written, ``x.log``; older ones lie beside it.
            watcher: Wakes `follow`; shared by all readers of the engine.
            clock: Tells when ``until_ns`` has come.
        """
        self._path = path
        self._watcher = watcher
        self._clock = clock

    def read(self, options: ReadOptions) -> Iterator[list[LogBatch]]:
        """Yield what is in the log now, oldest first, some batches at a time. Blocks on disk."""
        cursor = _Cursor(self._path, options)
        try:
            while not cursor.is_past():
                batches = cursor.advance()
                if batches is None:
                    return
                if batches:
                    yield batches
        finally:
            cursor.close()

    async def follow(
        self, options: ReadOptions, ended: asyncio.Event
    ) -> AsyncIterator[list[LogBatch]]:
        """Yield what is in the log and then what comes, each entry once and in order.

        An empty list says once that everything there was has been yielded, and the rest is to come.
        Ends when ``ended`` is set and everything written before that was yielded, or when an
        entry is newer than ``until_ns``, or that time has come.
        """
        with self._watcher.watch(os.path.dirname(self._path) or ".") as watch:
            cursor = _Cursor(self._path, options)
            waker = asyncio.ensure_future(_wake_when(ended, watch.wake))
            caught_up = False
            try:
                while not cursor.is_past():
                    over = ended.is_set()
                    watch.clear()
                    while (batches := await _advance(cursor)) is not None:
                        if batches:
                            yield batches
                    left_s = self._seconds_left(options.until_ns)
                    if over or (left_s is not None and left_s <= 0):
                        return
                    if not caught_up:
                        caught_up = True
                        yield []
                    if not cursor.is_past() and not ended.is_set():
                        await watch.wait(left_s)
            finally:
                waker.cancel()
                cursor.close()

    def _seconds_left(self, until_ns: int) -> float | None:
        return (until_ns - self._clock.time_ns()) / _NS_PER_S if until_ns else None


class _Cursor:
    """A place in a log that moves on; it follows rotations. Used by one thread at a time.

    Files are opened by `advance` alone: who owns a cursor can close it, whatever happens between.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._path = path
        self._options = options
        self._since = _stamp(options.since_ns)
        self._until = _stamp(options.until_ns)
        self._rest = b""
        self._offset = 0
        self._closed = False
        self._is_past = False
        self._files: list[LogFile] = []
        self._has_begun = False

    def is_past(self) -> bool:
        """Return whether an entry after the wanted time was met: no wanted one can follow."""
        return self._is_past

    def advance(self) -> list[LogBatch] | None:
        """Return the wanted entries of the next block, perhaps none; None at the end for now."""
        if self._closed or self._is_past:
            return None
        if not self._files:
            self._open()
            if not self._files:
                return None
        file = self._files[0]
        # Look before reading: what a file that is not written any more yields now is all of it.
        last = len(self._files) == 1 and rotation.is_current(self._path, file)
        data = file.read(self._offset, _BLOCK)
        if data:
            self._offset += len(data)
            return self._choose(self._take_lines(data))
        if last or not self._next_file(file):
            return None
        return []

    def close(self) -> None:
        """Close the files; `advance` then says that nothing is left."""
        self._closed = True
        rotation.close_chain(self._files)
        self._files = []

    def _open(self) -> None:
        """Open what there is of the log, at the wanted entry the first time."""
        self._files = rotation.open_chain(self._path)
        if not self._has_begun and self._files:
            if self._options.tail >= 0:
                self._files, self._offset = rotation.seek_tail(self._files, self._options.tail)
            elif self._options.since_ns:
                self._files, self._offset = seek_time(self._files, self._options.since_ns)
        self._has_begun = True

    def _next_file(self, file: LogFile) -> bool:
        """Go on to the file written after ``file``; False when it is not there yet."""
        if len(self._files) == 1:
            successors = rotation.open_successors(self._path, file)
            if not successors:
                return False
            self._files += successors
        self._files.pop(0).close()
        self._offset = 0
        # Half an entry at the end of a finished file is all there will ever be of it.
        self._rest = b""
        return True

    def _take_lines(self, data: bytes) -> list[LogBatch]:
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            return []
        lines = self._rest + data[:end] if self._rest else data[:end]
        self._rest = data[end:]
        return parse_lines(lines)

    def _choose(self, batches: list[LogBatch]) -> list[LogBatch]:
        if self._until:
            for index, batch in enumerate(batches):
                if batch.stamp > self._until:
                    self._is_past = True
                    batches = batches[:index]
                    break
        wants, since = self._options.wants, self._since
        return [batch for batch in batches if batch.stamp >= since and wants(batch.stream)]


async def _advance(cursor: _Cursor) -> list[LogBatch] | None:
    """Read a block in a thread; when cancelled, wait for the thread, which uses the files."""
    work = asyncio.ensure_future(asyncio.to_thread(cursor.advance))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


async def _wake_when(ended: asyncio.Event, wake: Callable[[], None]) -> None:
    await ended.wait()
    wake()


def _stamp(time_ns: int) -> bytes:
    return format_rfc3339(time_ns).encode() if time_ns else b""
