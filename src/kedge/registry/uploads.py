"""Blobs on their way in: one session each, written by one request at a time, resumable.

A session lives in memory and in one partial file; after a restart it is unknown, and the client
begins again, as the specification has it for expired sessions.
"""

import threading
from typing import Final

from kedge.content.ingest import BlobWriter
from kedge.content.store import ContentStore
from kedge.lib.clock import Clock
from kedge.lib.ids import new_id
from kedge.registry.failures import DistributionError, ErrorCode

MAX_OPEN: Final = 4096
"""Sessions at once; each holds a file descriptor."""


class Upload:
    """One session; hold it with `UploadSessions.hold` before writing."""

    def __init__(self, upload_id: str, repository: str, writer: BlobWriter) -> None:
        self.upload_id = upload_id
        self.repository = repository
        self.writer = writer
        self.touched_ns = 0
        self.is_held = False

    @property
    def offset(self) -> int:
        """Number of bytes that have come in."""
        return self.writer.offset


class UploadSessions:
    """The sessions of one registry; thread-safe."""

    def __init__(self, content: ContentStore, clock: Clock) -> None:
        self._content = content
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Upload] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, repository: str) -> Upload:
        """Return a new session, held.

        Raises:
            DistributionError: Too many are open.
        """
        if len(self._open) >= MAX_OPEN:
            raise DistributionError(
                ErrorCode.UNAVAILABLE, f"{MAX_OPEN} uploads are open already: try again later"
            )
        upload_id = new_id()
        upload = Upload(upload_id, repository, self._content.ingest(f"upload {upload_id}"))
        upload.touched_ns = self._clock.time_ns()
        upload.is_held = True
        with self._lock:
            self._open[upload_id] = upload
        return upload

    def hold(self, repository: str, upload_id: str) -> Upload:
        """Return a session for one request alone; `release` or `end` it afterwards.

        Raises:
            DistributionError: There is no such session, or another request writes to it.
        """
        with self._lock:
            upload = self._find(repository, upload_id)
            if upload.is_held:
                raise DistributionError(
                    ErrorCode.BLOB_UPLOAD_INVALID,
                    f"upload {upload_id} is being written by another request",
                )
            upload.is_held = True
        return upload

    def offset(self, repository: str, upload_id: str) -> int:
        """Return how many bytes of a session have come in.

        Raises:
            DistributionError: There is no such session.
        """
        with self._lock:
            return self._find(repository, upload_id).offset

    def release(self, upload: Upload) -> None:
        """Let the next request write."""
        with self._lock:
            upload.touched_ns = self._clock.time_ns()
            upload.is_held = False

    def end(self, upload: Upload) -> None:
        """Forget a session and throw away what was not published; idempotent."""
        with self._lock:
            self._open.pop(upload.upload_id, None)
        upload.writer.discard()

    def end_idle(self, idle_ns: int) -> int:
        """End the sessions that nobody has written to for ``idle_ns``; return how many."""
        before = self._clock.time_ns() - idle_ns
        with self._lock:
            idle = [u for u in self._open.values() if not u.is_held and u.touched_ns < before]
            for upload in idle:
                upload.is_held = True
        for upload in idle:
            self.end(upload)
        return len(idle)

    def close(self) -> None:
        """End every session."""
        for upload in list(self._open.values()):
            self.end(upload)

    def _find(self, repository: str, upload_id: str) -> Upload:
        upload = self._open.get(upload_id)
        if upload is None or upload.repository != repository:
            raise DistributionError(
                ErrorCode.BLOB_UPLOAD_UNKNOWN, f"upload unknown: {upload_id[:80]}"
            )
        return upload
