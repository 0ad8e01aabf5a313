"""One large blob over several connections, handed on in order.

A single connection over a long way carries what its window and its losses allow; several carry
more. Segments are fetched ahead into memory, a bounded number of them, so what is written and
hashed stays in order and a download that breaks off goes on as any other.
"""

import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from kedge.distribution.client import RepositoryClient
from kedge.distribution.failures import ConnectionFailedError, PullCancelledError
from kedge.errdefs import NotSupportedError
from kedge.oci.image_spec import Descriptor

if TYPE_CHECKING:
    from kedge.distribution.transport import Answer

CONNECTIONS: Final = 4


class RangesNotSupportedError(NotSupportedError):
    """The server sends whole blobs only."""


class RangedBlob:
    """The rest of a blob from one position on; used once, from one thread."""

    def __init__(
        self, client: RepositoryClient, blob: Descriptor, offset: int, *, segment_bytes: int
    ) -> None:
        """Fetch nothing yet.

        Args:
            client: The repository.
            blob: What to fetch.
            offset: First byte wanted.
            segment_bytes: How much one request asks for.
        """
        self._client = client
        self._blob = blob
        self._offset = offset
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._answers: set[Answer] = set()
        self._aborted = False

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield the bytes in order.

        Raises:
            RangesNotSupportedError: The server sends whole blobs only; nothing was yielded.
            ConnectionFailedError: A connection broke; what was yielded is good.
        """
        starts = iter(range(self._offset, self._blob.size, self._segment_bytes))
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="range") as workers:
            segments: deque[Future[bytes]] = deque()
            try:
                for start in starts:
                    segments.append(workers.submit(self._fetch, start))
                    if len(segments) == CONNECTIONS:
                        yield segments.popleft().result()
                while segments:
                    yield segments.popleft().result()
            finally:
                self.abort()

    def abort(self) -> None:
        """Make every request fail now; called from any thread."""
        with self._lock:
            self._aborted = True
            for answer in self._answers:
                answer.abort()

    def _fetch(self, start: int) -> bytes:
        end = min(start + self._segment_bytes, self._blob.size)
        if self._aborted:
            raise PullCancelledError
        answer = self._client.open_range(self._blob.digest, start, end)
        if answer is None:
            raise RangesNotSupportedError(
                f"registry {self._client.endpoint.address} sends no parts of blobs"
            )
        with answer:
            with self._lock:
                if self._aborted:
                    raise PullCancelledError
                self._answers.add(answer)
            try:
                data = bytearray()
                for chunk in answer.chunks():
                    data += chunk
                    if len(data) > end - start:
                        break
            finally:
                with self._lock:
                    self._answers.discard(answer)
        if len(data) != end - start:
            raise ConnectionFailedError(
                f"registry {self._client.endpoint.address} sent {len(data)} of {end - start}"
                f" bytes of a part of {self._blob.digest}",
                may_retry=True,
            )
        return bytes(data)
