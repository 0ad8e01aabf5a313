"""Binary packages: the ``ar`` archive with the tar of the files (deb(5))."""

import io
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

from kedge.archive.compression import decompress
from kedge.archive.entry import Entry, Kind
from kedge.errdefs import DataLossError

_AR_MAGIC: Final = b"!<arch>\n"
_HEADER_BYTES: Final = 60
_HEADER_END: Final = b"`\n"
_MERGED: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"})

ChangeEntry = Callable[[Entry], Entry | None]


@contextmanager
def open_data(path: str, *, name: str) -> Generator[BinaryIO, None, None]:
    """Enclose the reading of a package's files as an uncompressed tar stream.

    Raises:
        DataLossError: It is no package.
    """
    with open(path, "rb") as file:
        if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise DataLossError(f"{name} is not a Debian package")
        size = _find_member(file, b"data.tar", name)
        with decompress(cast("BinaryIO", _Section(file, size)), name=name) as data:
            yield data


def _find_member(file: BinaryIO, prefix: bytes, name: str) -> int:
    """Place ``file`` at the content of a member and return its size."""
    while header := file.read(_HEADER_BYTES):
        if len(header) < _HEADER_BYTES or header[58:] != _HEADER_END:
            raise DataLossError(f"{name}: damaged header")
        size = int(header[48:58])
        if header.startswith(prefix):
            return size
        file.seek(size + size % 2, io.SEEK_CUR)
    raise DataLossError(f"{name} has no {prefix.decode()}")


class _Section(io.RawIOBase):
    """The next ``size`` bytes of a file, without closing it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        piece = self._file.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)


def merge_usr(entry: Entry) -> Entry | None:
    """Return an entry as it stands in a system where ``/bin`` and its like are links to /usr."""
    path = _clean(entry.name)
    first, slash, _ = path.partition("/")
    if first in _MERGED:
        if not slash:
            return None  # the link that is already there
        path = f"usr/{path}"
    entry = entry._replace(name=path)
    if entry.kind is Kind.HARD_LINK:
        target = _clean(entry.link_target)
        if target.partition("/")[0] in _MERGED:
            target = f"usr/{target}"
        entry = entry._replace(link_target=target)
    return entry


def _clean(name: str) -> str:
    return name.removeprefix("./").strip("/") or "."
