"""Outputs of a build on their way to its client, which fetches each by a token it is told.

The build's thread waits until the client has come, then writes straight into its answer: nothing
is kept on disk, and nothing waits longer than the build's own request. An exporter that fails
breaks the answer off, so that nobody takes the beginning for the whole.
"""

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final

from kedge.archive.members import Member
from kedge.archive.writer import Writable
from kedge.builder.events import Event, OutputReady
from kedge.builder.exporters.trees import write_tree
from kedge.engine.tarstream import ReaderGoneError, stream_written
from kedge.errdefs import NotFoundError, UnavailableError
from kedge.lib.ids import new_id

_POLL_S: Final = 0.1
_GONE: Final = "the client went away in the middle of an output"


class _Parcel:
    """One output: the build's thread brings the bytes, the answer's thread the place for them."""

    def __init__(self) -> None:
        self._out: Writable | None = None
        self._here = threading.Event()
        self._done = threading.Event()
        self._failed = False

    def take(self, out: Writable) -> None:
        """Let the build write to ``out`` and return when it has; from the answer's thread."""
        if self._here.is_set():
            raise NotFoundError("this output of a build was fetched already")
        self._out = out
        self._here.set()
        self._done.wait()
        if self._failed:
            raise UnavailableError("the output of the build broke off")

    @contextmanager
    def receiver(self, check: Callable[[], None]) -> Generator[Writable, None, None]:
        """Wait for the client and lend its end; from the build's thread."""
        try:
            yield self._wait(check)
        except BaseException:
            self._failed = True
            raise
        finally:
            self._done.set()

    def _wait(self, check: Callable[[], None]) -> Writable:
        while not self._here.wait(_POLL_S):
            check()
        if self._out is None:
            raise UnavailableError(_GONE)
        return self._out


class OutputDesk:
    """The outputs that wait for their clients, of every build of one engine; thread-safe."""

    def __init__(self) -> None:
        self._parcels: dict[str, _Parcel] = {}

    def fetch(self, token: str) -> AsyncGenerator[bytes]:
        """Return the bytes of an output as the build makes them.

        Raises:
            NotFoundError: No output waits under this token.
        """
        parcel = self._parcels.pop(token, None)
        if parcel is None:
            raise NotFoundError(f"no such output of a build: {token}")
        return stream_written(parcel.take)

    @contextmanager
    def offer(self, token: str) -> Generator[_Parcel, None, None]:
        """Enclose the time in which an output can be fetched."""
        parcel = self._parcels[token] = _Parcel()
        try:
            yield parcel
        finally:
            self._parcels.pop(token, None)


class FetchedSinks:
    """Satisfies the builder's ``Sinks`` for one build: everything is fetched as an archive."""

    def __init__(
        self, desk: OutputDesk, emit: Callable[[Event], None], cancel: threading.Event
    ) -> None:
        """Announce outputs with ``emit``."""
        self._desk = desk
        self._emit = emit
        self._cancel = cancel

    @contextmanager
    def stream(self, index: int) -> Generator[Writable, None, None]:
        """Open the receiver of an archive."""
        token = new_id()
        with self._desk.offer(token) as parcel:
            self._emit(OutputReady(index=index, token=token))
            with parcel.receiver(self._check) as out:
                yield _Guarded(out, self._check)

    def files(self, index: int, members: Iterable[Member]) -> None:
        """Send a tree as an archive, which the client unpacks."""
        with self.stream(index) as out:
            write_tree(iter(members), out)

    def _check(self) -> None:
        if self._cancel.is_set():
            raise UnavailableError(_GONE)


class _Guarded:
    """A receiver whose client may go away."""

    def __init__(self, out: Writable, check: Callable[[], None]) -> None:
        self._out = out
        self._check = check

    def write(self, data: bytes, /) -> None:
        """Write all of ``data``."""
        self._check()
        try:
            self._out.write(data)
        except ReaderGoneError as error:
            raise UnavailableError(_GONE) from error
