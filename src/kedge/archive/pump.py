"""`Pump`: reads, inflates and hashes a stream in a thread of its own, ahead of its consumer.

Inflating and hashing release the GIL, so they overlap with the system calls of the extractor.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from typing import Final, Protocol, Self

CHUNK_BYTES: Final = 1 << 20
_AHEAD: Final = 4


class _StreamError(Exception):
    """Carries what the stream raised past code that would take it for its own failure."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Readable(Protocol):
    """The part of a binary stream that is used here."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        ...


class Pump:
    """A context manager around ``stream``; leaving it waits for a read under way to return."""

    def __init__(
        self, stream: Readable, *, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Prepare to read ``stream``, which the pump's thread alone then uses.

        Args:
            stream: Its ``read`` must return or raise in bounded time.
            on_progress: Called with the number of bytes consumed so far.
        """
        self._stream = stream
        self._on_progress = on_progress
        self._chunks: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
        self._slots = threading.Semaphore(_AHEAD)
        self._stopping = False
        self._has_ended = False
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._run, name="archive-pump", daemon=True)
        self.size_bytes = 0
        """How much has been handed out."""

    def __enter__(self) -> Self:
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        """Stop reading; the stream is the caller's again. Raises what the stream raised."""
        self._stopping = True
        self._slots.release()
        self._thread.join()
        if isinstance(error, _StreamError):
            raise error.error from None

    @property
    def digest(self) -> str:
        """``sha256:`` of the whole stream; final once `read_chunk` has returned its end."""
        return f"sha256:{self._hash.hexdigest()}"

    def read_chunk(self) -> bytes:
        """Return the next piece; empty at the end."""
        if self._has_ended:
            return b""
        item = self._chunks.get()
        self._slots.release()
        if isinstance(item, BaseException):
            self._has_ended = True
            raise _StreamError(item)
        self._has_ended = not item
        self.size_bytes += len(item)
        if self._on_progress is not None:
            self._on_progress(self.size_bytes)
        return item

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._slots.acquire()
                chunk = self._stream.read(CHUNK_BYTES)
                self._hash.update(chunk)
                self._chunks.put(chunk)
                if not chunk:
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer
            self._chunks.put(error)
