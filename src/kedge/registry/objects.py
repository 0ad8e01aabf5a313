"""An object store as a registry needs it: whole objects in, ranges out, listed by prefix."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol


class StoredObject(NamedTuple):
    """An object that is there."""

    key: str
    size_bytes: int


class Objects(Protocol):
    """Objects named by keys; an object is there whole or not at all.

    Every method raises `DistributionError` (unavailable) when the store does not answer or
    refuses, and never with a secret in the message.
    """

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Store a small object."""
        ...

    def put_file(self, key: str, file: BinaryIO, size_bytes: int) -> None:
        """Store what ``file``, a real one, holds, with memory that does not grow with it."""
        ...

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return a small object and its media type; None where there is none."""
        ...

    def size_bytes(self, key: str) -> int | None:
        """Return an object's size; None where there is none."""
        ...

    def chunks(self, key: str, offset: int, length: int) -> Iterator[bytes] | None:
        """Return a part of an object, piece by piece; None where there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...

    def walk(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key begins with ``prefix``."""
        ...

    def address(self, key: str) -> str:
        """Return a URL from which anybody may get an object for a while."""
        ...

    def abandon_uploads(self, older_than_s: float) -> None:
        """Remove what uploads that broke off that long ago have left."""
        ...
