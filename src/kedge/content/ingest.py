"""One blob being written: hashed as it comes, resumable, published only when verified.

The partial file is named after the ingest's reference, so a download that broke off, also by
``kill -9``, goes on where it stopped. A short power cut may leave holes in it: then the digest
at the end does not fit and the file is thrown away.
"""

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from kedge.errdefs import DataLossError, SystemFailureError
from kedge.oci.hashing import new_hash

_READ_SIZE: Final = 1 << 20


class BlobWriter:
    """The one writer of an ingest; made by `kedge.content.store.ContentStore.ingest`.

    Leaving the context without `commit` keeps the partial file for the next attempt; `discard`
    throws it away. Not thread-safe.
    """

    def __init__(
        self,
        path: str,
        *,
        ref: str,
        size: int | None,
        digest: str,
        publish: Callable[[str, str], None],
        flush: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self._path = path
        self._ref = ref
        self._size = size
        self._digest = digest
        self._publish = publish
        self._flush = flush
        self._release = release
        self._offset = 0
        self._hash = new_hash(self._algorithm())
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._resume()

    @property
    def offset(self) -> int:
        """How many bytes are already written, here or before a restart."""
        return self._offset

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``.

        Raises:
            DataLossError: More bytes than announced.
            SystemFailureError: The disk is full; the partial file is gone.
        """
        if self._size is not None and self._offset + len(data) > self._size:
            self.discard()
            raise DataLossError(f"{self._ref} is longer than the {self._size} bytes announced")
        self._hash.update(data)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.discard()
            raise _storage_failure(error, self._ref, self._path) from error
        self._offset += len(data)

    def rewind(self) -> None:
        """Forget what is written and begin again, for a server that cannot send a part."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._offset = 0
        self._hash = new_hash(self._algorithm())

    def open_partial(self) -> int:
        """Return a new descriptor that reads what is written so far and what follows.

        It stays good when the blob is published or thrown away; the caller closes it.
        """
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def is_verified(self) -> bool:
        """Tell whether what is written so far is the announced blob."""
        return f"{self._algorithm()}:{self._hash.hexdigest()}" == self._digest

    def commit(self, digest: str = "", *, durable_name: bool = True) -> str:
        """Verify, flush and publish the blob; return its digest.

        Args:
            digest: What it must be, by any registered algorithm; the digest given to ``ingest``
                where empty.
            durable_name: Flush its name as well. Off, a power cut may take the blob, never a
                part of it, until `ContentStore.flush_names`.

        Raises:
            DataLossError: Size or digest is not what was announced; the partial file is gone.
            SystemFailureError: The disk is full or broken; the partial file is gone.
        """
        expected = digest or self._digest
        if self._size is not None and self._offset != self._size:
            self.discard()
            raise DataLossError(
                f"{self._ref} is {self._offset} bytes long, but {self._size} were announced"
            )
        found = self._found(expected.partition(":")[0] or self._algorithm())
        if expected and found != expected:
            self.discard()
            raise DataLossError(f"{self._ref} does not match its digest: the bytes are {found}")
        try:
            os.fsync(self._fd)
            os.fchmod(self._fd, 0o444)
            self._publish(self._path, found)
            if durable_name:
                self._flush()
        except OSError as error:
            self.discard()
            raise _storage_failure(error, self._ref, self._path) from error
        self.close()
        return found

    def discard(self) -> None:
        """Throw the partial file away; idempotent."""
        if self._fd >= 0:
            os.unlink(self._path)
            self.close()

    def close(self) -> None:
        """Stop writing and leave the partial file for a later attempt; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _algorithm(self) -> str:
        return self._digest.partition(":")[0] or "sha256"

    def _found(self, algorithm: str) -> str:
        """Return the digest of what is written, reading it again for another algorithm."""
        if algorithm != self._algorithm():
            self._hash = new_hash(algorithm)
            position = 0
            while chunk := os.pread(self._fd, _READ_SIZE, position):
                self._hash.update(chunk)
                position += len(chunk)
        return f"{algorithm}:{self._hash.hexdigest()}"

    def _resume(self) -> None:
        """Hash what an earlier attempt left, unless it cannot be the beginning of this blob."""
        if self._size is not None and os.fstat(self._fd).st_size > self._size:
            os.ftruncate(self._fd, 0)
        while chunk := os.read(self._fd, _READ_SIZE):
            self._hash.update(chunk)
            self._offset += len(chunk)


def _storage_failure(error: OSError, ref: str, path: str) -> SystemFailureError:
    where = os.path.dirname(os.path.dirname(path))
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return SystemFailureError(
            f"no space left on device: cannot write {ref} to {where}; free some space there"
        )
    return SystemFailureError(f"cannot write {ref} to {where}: {error.strerror}")
