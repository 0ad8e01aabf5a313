"""Long work in a thread that reports as it goes, read by a coroutine.

The thread runs ahead of a slow reader by a bounded number of reports and then waits, so memory is
bounded. When the reader goes away, ``on_close`` asks the thread to stop and the rest of its reports
are dropped.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_AHEAD: Final = 256


class ThreadStream(Generic[T]):
    """The reports of one piece of work, in order; the work's failure is raised after the last."""

    def __init__(self, workers: ThreadPoolExecutor, *, on_close: Callable[[], None]) -> None:
        """Run nothing yet.

        Args:
            workers: Where the work runs.
            on_close: Asks the work to end early; called from the event loop.
        """
        self._workers = workers
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._closed = False
        self._work: Future[object] | None = None

    def run(self, work: Callable[[Callable[[T], None]], object]) -> None:
        """Start ``work``, which is given the function to report with."""
        self._work = self._workers.submit(work, self._emit)
        self._work.add_done_callback(self._finished)

    def _emit(self, report: T) -> None:
        self._room.acquire()
        if not self._closed:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, report)

    def _finished(self, _work: "Future[object]") -> None:
        # The loop may be gone when the engine stops in the middle.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def __aenter__(self) -> "ThreadStream[T]":
        """Return self."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the work to end where it has not."""
        self.close()

    def close(self) -> None:
        """Drop further reports and ask the work to end."""
        self._closed = True
        if self._work is not None and not self._work.done():
            self._on_close()
        # A thread that waits for room must not wait for ever.
        self._room.release(_AHEAD)

    @property
    def is_running(self) -> bool:
        """Whether the work goes on, read by somebody or not."""
        return self._work is not None and not self._work.done()

    async def wait(self) -> None:
        """Return when the work has ended, however it did."""
        if self._work is not None:
            await asyncio.gather(asyncio.wrap_future(self._work), return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield the reports, then raise what the work raised."""
        while (report := await self._queue.get()) is not None:
            self._room.release()
            yield report
        if self._work is not None:
            self._work.result()
