"""Blobs on their way in: one download per blob, however many pulls want it, readable meanwhile.

A download writes and hashes in its own thread; whoever unpacks the layer reads the same bytes
from the page cache right behind it, so unpacking neither waits for the end nor slows it down.
A download lives as long as somebody wants it and goes on where it broke off, also after a
restart. Verification is the content store's: a blob is done when it is published.
"""

import io
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final, TypeAlias

from kedge.content.ingest import BlobWriter
from kedge.content.store import ContentStore
from kedge.distribution import progress
from kedge.distribution.client import RepositoryClient
from kedge.distribution.failures import (
    ConnectionFailedError,
    PullCancelledError,
    RegistryRefusedError,
)
from kedge.distribution.ranges import RangedBlob, RangesNotSupportedError
from kedge.distribution.retry import Retries
from kedge.errdefs import DataLossError, KedgeError, SystemFailureError
from kedge.oci.image_spec import Descriptor

_POLL_S: Final = 0.25
_SEGMENTS_WORTH_IT: Final = 8
_PROGRESS_BYTES: Final = 1 << 20

Listener: TypeAlias = Callable[[str, int], None]
"""Told the status, in Docker's words, and how many bytes are there."""


class Download:
    """One blob being fetched; made by `Downloads.join`."""

    def __init__(self, descriptor: Descriptor, content: ContentStore) -> None:
        self.descriptor = descriptor
        self._content = content
        self._condition = threading.Condition()
        self._listeners: dict[int, Listener] = {}
        self._offset = 0
        self._file = -1
        self._interrupt: Callable[[], None] | None = None
        self._aborted = threading.Event()
        self._ended = False
        self._error: KedgeError | None = None
        self._range_bytes = 0
        """Zero where the server sends whole blobs only."""
        self.was_rewound = False
        """Whether bytes that readers may have seen turned out not to be the blob's."""

    @property
    def is_wanted(self) -> bool:
        """Whether it still makes sense to join."""
        return not self._aborted.is_set() and not self._ended

    @property
    def has_failed(self) -> bool:
        """Whether it ended without the blob."""
        return self._error is not None

    def raise_failure(self) -> None:
        """Raise what the download failed with, if it did."""
        if self._error:
            raise self._error

    def listen(self, listener: Listener) -> int:
        """Want the blob; return the ticket that `leave` takes back."""
        with self._condition:
            ticket = max(self._listeners, default=0) + 1
            self._listeners[ticket] = listener
            return ticket

    def leave(self, ticket: int) -> None:
        """No longer want the blob; the last one to leave ends the download."""
        with self._condition:
            self._listeners.pop(ticket, None)
            if self._listeners:
                return
            self._aborted.set()
            if self._interrupt:
                self._interrupt()
            if self._ended:
                self._close_file()
            self._condition.notify_all()

    def wait(self, check: Callable[[], None]) -> None:
        """Return when the blob is in the content store, verified.

        Args:
            check: Called now and then; what it raises ends the wait.

        Raises:
            KedgeError: The download failed.
        """
        with self._condition:
            while not self._ended:
                check()
                self._condition.wait(_POLL_S)
        if self._error:
            raise self._error

    def wait_ended(self) -> None:
        """Return when the download's thread is done with it, however it went."""
        with self._condition:
            while not self._ended:
                self._condition.wait()

    def read_at(self, position: int, size: int, check: Callable[[], None]) -> bytes:
        """Return bytes from ``position`` on, waiting for them; empty behind the last one.

        Only between `listen` and `leave`.
        """
        with self._condition:
            while self._offset <= position < self.descriptor.size and not self._ended:
                check()
                self._condition.wait(_POLL_S)
            if self._error:
                raise self._error
            available = self._offset - position
        check()
        return os.pread(self._file, min(size, available), position) if available > 0 else b""

    def run(self, client: RepositoryClient, max_attempts: int, range_bytes: int) -> None:
        """Fetch the blob; never raises, `wait` does."""
        self._range_bytes = range_bytes
        error: KedgeError | None = None
        try:
            self._fetch(client, Retries(max_attempts=max_attempts, pause=self._pause))
        except KedgeError as failure:
            error = failure
        except OSError as failure:
            error = SystemFailureError(f"cannot store {self.descriptor.digest}: {failure}")
        with self._condition:
            self._error = error
            self._ended = True
            if not self._listeners:
                self._close_file()
            self._condition.notify_all()
        if error is None:
            self._tell(progress.DOWNLOADED)

    def _pause(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise PullCancelledError

    def _fetch(self, client: RepositoryClient, retries: Retries) -> None:
        blob = self.descriptor
        if self._aborted.is_set():
            raise PullCancelledError
        if self._content.exists(blob.digest):
            with self._content.open(blob.digest) as stream:
                self._begin(os.dup(stream.fileno()), blob.size)
            return
        with self._content.ingest(blob.digest, size=blob.size, digest=blob.digest) as writer:
            resumed = writer.offset > 0
            self._begin(writer.open_partial(), writer.offset)
            self._transfer(client, writer, retries)
            self._tell(progress.VERIFYING)
            if resumed and not writer.is_verified():
                # What an earlier attempt left was no part of this blob after all.
                self._rewind(writer)
                self._transfer(client, writer, retries)
            try:
                writer.commit()
            except DataLossError as error:
                raise DataLossError(
                    f"filesystem layer verification failed for digest {blob.digest}"
                ) from error

    def _transfer(self, client: RepositoryClient, writer: BlobWriter, retries: Retries) -> None:
        size = self.descriptor.size
        while writer.offset < size:
            before = writer.offset
            try:
                self._receive(client, writer)
                if writer.offset < size:
                    raise ConnectionFailedError(  # noqa: TRY301 - a short body is a broken one
                        f"registry {client.endpoint.address} sent only {writer.offset} of {size}"
                        f" bytes of {self.descriptor.digest}",
                        may_retry=True,
                    )
            except (ConnectionFailedError, RegistryRefusedError) as error:
                if self._aborted.is_set():
                    raise PullCancelledError from error
                if writer.offset - before >= _PROGRESS_BYTES:
                    retries.progressed()
                retries.failed(error)

    def _receive(self, client: RepositoryClient, writer: BlobWriter) -> None:
        rest = self.descriptor.size - writer.offset
        if self._range_bytes and rest >= _SEGMENTS_WORTH_IT * self._range_bytes:
            blob, size = self.descriptor, self._range_bytes
            ranged = RangedBlob(client, blob, writer.offset, segment_bytes=size)
            try:
                # Closed here and now, so that no connection outlives a failure.
                with closing(ranged.chunks()) as chunks:
                    self._take(chunks, ranged.abort, writer)
            except RangesNotSupportedError:
                self._range_bytes = 0
            else:
                return
        answer, start = client.open_blob(self.descriptor.digest, writer.offset)
        with answer:
            if start != writer.offset:
                self._rewind(writer)
            self._take(answer.chunks(), answer.abort, writer)

    def _take(
        self, chunks: Iterable[bytes], interrupt: Callable[[], None], writer: BlobWriter
    ) -> None:
        with self._condition:
            self._interrupt = interrupt
        try:
            for chunk in chunks:
                if self._aborted.is_set():
                    raise PullCancelledError
                writer.write(chunk)
                self._advance(writer.offset)
        finally:
            with self._condition:
                self._interrupt = None

    def _advance(self, offset: int) -> None:
        with self._condition:
            self._offset = offset
            self._condition.notify_all()
        self._tell(progress.DOWNLOADING)

    def _rewind(self, writer: BlobWriter) -> None:
        writer.rewind()
        with self._condition:
            self.was_rewound = True
            self._offset = 0

    def _tell(self, status: str) -> None:
        with self._condition:
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener(status, self._offset)

    def _begin(self, descriptor: int, offset: int) -> None:
        with self._condition:
            self._file = descriptor
            self._offset = offset
            self._condition.notify_all()

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class DownloadReader(io.RawIOBase):
    """The bytes of a download as a file that is read once, from its beginning."""

    def __init__(
        self, download: Download, check: Callable[[], None], on_read: Callable[[int], None]
    ) -> None:
        """Read ``download``.

        Args:
            download: Joined by the caller for as long as this is used.
            check: Called before each read and while waiting; what it raises ends the reading.
            on_read: Told how many bytes were read so far.
        """
        self._download = download
        self._check = check
        self._on_read = on_read
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return at least one byte and at most ``size``, or none at the end."""
        wanted = size if size >= 0 else self._download.descriptor.size - self._position
        data = self._download.read_at(self._position, wanted, self._check)
        self._position += len(data)
        self._on_read(self._position)
        return data


class Downloads:
    """All downloads of an engine; thread-safe."""

    def __init__(
        self, content: ContentStore, *, max_downloads: int, max_attempts: int, range_bytes: int = 0
    ) -> None:
        self._content = content
        self._range_bytes = range_bytes
        self._max_attempts = max_attempts
        self._lock = threading.Lock()
        self._running: dict[str, Download] = {}
        self._workers = ThreadPoolExecutor(max_downloads, thread_name_prefix="download")

    def join(
        self,
        descriptor: Descriptor,
        listener: Listener,
        client: RepositoryClient,
    ) -> tuple[Download, int, bool]:
        """Join the download of a blob, or begin it.

        Returns:
            The download, the ticket to leave it with, and whether it was begun here, with this
            client's credentials.
        """
        with self._lock:
            download = self._running.get(descriptor.digest)
            if download is not None and download.is_wanted:
                return download, download.listen(listener), False
            download = Download(descriptor, self._content)
            ticket = download.listen(listener)
            previous = self._running.get(descriptor.digest)
            self._running[descriptor.digest] = download
        self._workers.submit(self._run, download, previous, client)
        return download, ticket, True

    def close(self) -> None:
        """Wait for the downloads that are left; their pulls must have been cancelled."""
        self._workers.shutdown(cancel_futures=True)

    def _run(
        self,
        download: Download,
        previous: Download | None,
        client: RepositoryClient,
    ) -> None:
        if previous is not None:
            # It was given up a moment ago and is about to let go of the partial file.
            previous.wait_ended()
        download.run(client, self._max_attempts, self._range_bytes)
        with self._lock:
            if self._running.get(download.descriptor.digest) is download:
                del self._running[download.descriptor.digest]
