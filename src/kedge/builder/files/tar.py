"""`TarTree`: a tar archive as a tree, read once from a stream.

The content of all files goes into one unlinked temporary file, hashed on the way, so a context
of thousands of small files costs one file and no directory. What a build does not copy is never
written anywhere else. Hard links share the content they name; the last of two equal names wins.
"""

import hashlib
import os
import posixpath
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple, Self, cast

from kedge.archive.compression import decompress
from kedge.archive.entry import Entry, Kind
from kedge.archive.header import BLOCK, ZERO_BLOCK, decode_header
from kedge.archive.reader import TarReader
from kedge.builder.files.tree import COPY_BYTES, ROOT_ENTRY, clip
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError

_READ_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 256
_ZEROS: Final = bytes(1 << 16)


class _Content(NamedTuple):
    offset: int
    digest: str


class TarTree:
    """The members of one archive; close it when the build is over."""

    def __init__(self, spool: BinaryIO, *, owned: bool) -> None:
        """Start empty, with ``spool`` for the content; `read_tar` fills it."""
        self._spool = spool
        self._owned = owned
        self._size = 0
        self._entries: dict[str, Entry] = {"": ROOT_ENTRY}
        self._contents: dict[str, _Content] = {}
        self._names: dict[str, list[str]] = {"": []}
        self._sorted: dict[str, tuple[str, ...]] = {}

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        return self._entries.get(path)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        found = self._sorted.get(path)
        if found is None:
            found = self._sorted[path] = tuple(sorted(self._names.get(path, ())))
        return found

    def digest(self, path: str) -> str:
        """Return the digest that was computed while reading."""
        return self._content(path).digest

    def write_to(self, path: str, descriptor: int) -> None:
        """Copy the content of a file inside the kernel."""
        offset = self._content(path).offset
        left = self._entries[path].size
        while left:
            sent = os.sendfile(descriptor, self._spool.fileno(), offset, min(left, COPY_BYTES))
            if not sent:
                raise DataLossError(f"{path}: its temporary copy is cut off")
            offset += sent
            left -= sent

    def open(self, path: str) -> BinaryIO:
        """Return a temporary file with the content of ``path``."""
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        self.write_to(path, stream.fileno())
        stream.seek(0)
        return stream

    @property
    def stored_bytes(self) -> int:
        """Bytes of its temporary file."""
        return self._size

    def flush(self) -> None:
        """Make what was added readable."""
        self._spool.flush()

    def close(self) -> None:
        """Give the temporary file back."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, entry: Entry, content: Iterator[memoryview]) -> None:
        """Take one member in; its content is read to the end."""
        path = clip(entry.name)
        if path.count("/") > _MAX_DEPTH:
            raise InvalidParameterError(f"{path[:40]}...: directories are nested too deeply")
        if not self._owned:
            entry = entry._replace(uid=0, gid=0)
        if not path:
            if entry.kind is Kind.DIRECTORY:
                self._entries[""] = entry
            return
        if entry.kind is Kind.HARD_LINK:
            self._add_hard_link(path, entry)
            return
        self._place(path, entry)
        if entry.kind is Kind.REGULAR:
            self._contents[path] = self._store(entry, content)

    def _add_hard_link(self, path: str, entry: Entry) -> None:
        target = clip(entry.link_target)
        linked = self._entries.get(target)
        if linked is None or linked.kind is Kind.DIRECTORY:
            raise InvalidParameterError(
                f"hard link {entry.name} names {entry.link_target}, which is no earlier file"
            )
        self._place(path, linked)
        if target in self._contents:
            self._contents[path] = self._contents[target]

    def _place(self, path: str, entry: Entry) -> None:
        parent, name = posixpath.split(path)
        self._ensure_directory(parent)
        old = self._entries.get(path)
        if old is None:
            self._names[parent].append(name)
        elif old.kind is Kind.DIRECTORY and entry.kind is not Kind.DIRECTORY:
            self._forget_below(path)
        self._entries[path] = entry
        if entry.kind is Kind.DIRECTORY:
            self._names.setdefault(path, [])

    def _ensure_directory(self, path: str) -> None:
        found = self._entries.get(path)
        if found is None or found.kind is not Kind.DIRECTORY:
            self._place(path, ROOT_ENTRY)

    def _forget_below(self, path: str) -> None:
        for name in self._names.pop(path, []):
            child = f"{path}/{name}"
            del self._entries[child]
            self._contents.pop(child, None)
            self._forget_below(child)

    def _store(self, entry: Entry, content: Iterator[memoryview]) -> _Content:
        # Counted and not asked for: `tell` is a system call for every file.
        offset = self._size
        running = hashlib.sha256(usedforsecurity=False)
        for piece in content if entry.segments is None else _filled(entry, content):
            running.update(piece)
            self._spool.write(piece)
            self._size += len(piece)
        return _Content(offset, f"sha256:{running.hexdigest()}")

    def _content(self, path: str) -> _Content:
        found = self._contents.get(path)
        if found is None:
            raise NotFoundError(f"no such file: {path}")
        return found


def _filled(entry: Entry, content: Iterator[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield a sparse file's content with its holes as zeros."""
    position = 0
    piece = memoryview(b"")
    for segment in entry.segments or ():
        yield from _zeros(segment.offset - position)
        position = segment.offset + segment.length
        left = segment.length
        while left:
            piece = piece or next(content)
            yield piece[:left]
            taken = min(left, len(piece))
            piece = piece[taken:]
            left -= taken
    yield from _zeros(entry.size - position)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[: min(count, len(_ZEROS))]
        count -= len(_ZEROS)


def read_tar(
    stream: BinaryIO, *, scratch: str, owned: bool = False, name: str = "build context"
) -> TarTree:
    """Read a tar archive, compressed or not, to its end.

    Args:
        stream: Where it comes from; it may arrive slowly.
        scratch: Directory on a disk with room for the content.
        owned: Keep the owners the archive gives; otherwise all files belong to root.
        name: What error messages call it.

    Raises:
        InvalidParameterError: It is no tar archive.
        DataLossError: It is damaged or ends too early.
    """
    with decompress(stream, name=name) as plain:
        tree = TarTree(_open_spool(scratch), owned=owned)
        try:
            reader = TarReader(lambda: plain.read(_READ_BYTES), name=name)
            for entry in reader:
                tree.add(entry, reader.content())
            reader.drain()
            tree.flush()
        except BaseException:
            tree.close()
            raise
    return tree


def _open_spool(scratch: str) -> BinaryIO:
    """Return a file without a name, so that nothing can leave it behind."""
    spool = tempfile.TemporaryFile(buffering=_READ_BYTES, dir=scratch)  # noqa: SIM115
    return cast("BinaryIO", spool)


def try_read_archive(
    stream: BinaryIO, *, scratch: str, name: str, owned: bool = True
) -> TarTree | None:
    """Read the archive that ADD unpacks, or return None when ``stream`` is no tar archive.

    Args:
        stream: A seekable file.
        scratch: Directory on a disk with room for the content.
        name: What error messages call it.
        owned: Keep the owners the archive gives.

    Raises:
        DataLossError: It begins as a tar archive and is damaged later.
        InvalidParameterError: A later header is malformed.
    """
    if not _begins_as_tar(stream, name):
        return None
    stream.seek(0)
    return read_tar(stream, scratch=scratch, owned=owned, name=name)


def _begins_as_tar(stream: BinaryIO, name: str) -> bool:
    try:
        with decompress(stream, name=name) as plain:
            block = plain.read(BLOCK)
            if len(block) < BLOCK or block == ZERO_BLOCK:
                return False
            decode_header(block)
    except (DataLossError, InvalidParameterError):
        return False
    return True
