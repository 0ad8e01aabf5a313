"""Write tar streams: any tree (`create_tar`), or an overlay upper directory as an OCI layer.

The same tree gives the same bytes: order by name, numeric owners, times cut to the second as
Docker does, PAX records only where ustar is too small.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple, Protocol

from kedge.archive.entry import Entry, Kind
from kedge.archive.header import BLOCK, encode_entry, encode_file, padding
from kedge.archive.layered import Found, LayerStack
from kedge.archive.members import Inodes, Member, members_at, read_members, read_plain_file
from kedge.archive.sparse import encode_data_map, sparse_records
from kedge.archive.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX

ChangeEntry = Callable[[Entry], Entry | None]
"""Renames, re-owns or, with None, leaves out an entry on its way."""

_FLUSH_BYTES: Final = 1 << 20
_NANOS: Final = 1_000_000_000


class Writable(Protocol):
    """The part of a binary stream that is used here; ``write`` takes everything."""

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``."""
        ...


class Written(NamedTuple):
    """What was written."""

    diff_id: str
    """``sha256:`` of the uncompressed stream."""
    size_bytes: int
    """Sum of the sizes of the regular files in it."""
    entries: int
    stream_bytes: int


class TarWriter:
    """Writes entries to a stream and hashes what it writes."""

    def __init__(self, out: Writable) -> None:
        """Write to ``out``, in pieces of a megabyte."""
        self._out = out
        self._pieces: list[bytes] = []
        self._pending = 0
        self._hash = hashlib.sha256()
        self._stream_bytes = self._size_bytes = self._entries = 0

    def add(self, entry: Entry, content: Iterable[bytes] = ()) -> None:
        """Write one entry; ``content`` must have exactly its ``stored_size`` bytes."""
        if entry.segments is None:
            header = encode_entry(entry)
            self._pieces.append(header)
            self._pending += len(header)
            stored = entry.size
        else:
            stored = self._write_sparse_header(entry)
        for piece in content:
            self._write(piece)
        if stored % BLOCK:
            self._write(padding(stored))
        self._entries += 1
        self._size_bytes += entry.size

    def add_file(self, name: str, status: os.stat_result, content: bytes) -> bool:
        """Write a regular file that has nothing but ``content``; False if that needs `add`."""
        header = encode_file(name, status)
        if not header:
            return False
        size = len(content)
        self._pieces += (header, content, padding(size))
        self._pending += BLOCK + size
        self._entries += 1
        self._size_bytes += size
        if self._pending >= _FLUSH_BYTES:
            self._flush()
        return True

    def finish(self) -> Written:
        """Write the end-of-archive mark and return what the stream came to."""
        self._write(bytes(2 * BLOCK))
        self._flush()
        if self._pieces:
            self._pass_on(self._pieces.pop())
        digest = f"sha256:{self._hash.hexdigest()}"
        return Written(digest, self._size_bytes, self._entries, self._stream_bytes)

    def _write_sparse_header(self, entry: Entry) -> int:
        """Write the header and map of a sparse file; return the size of what is stored."""
        data_map = encode_data_map(entry.segments or (), entry.size)
        stored = len(data_map) + entry.stored_size
        records = sparse_records(os.fsencode(entry.name), entry.size)
        # A path record of its own would win over GNU.sparse.name in Python's tarfile.
        base = entry.name.rpartition("/")[2].encode("ascii", "ignore").decode()[:80]
        self._write(
            encode_entry(entry._replace(name=f"GNUSparseFile.0/{base}", size=stored), records)
        )
        self._write(data_map)
        return stored

    def _write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._pending += len(piece)
        if self._pending >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Pass on whole megabytes; what is over stays.

        A compressor works on what it is given at once, so where the stream is cut must depend on
        nothing but its content: equal layers have equal blobs.
        """
        gathered = b"".join(self._pieces)
        self._pieces.clear()
        done = len(gathered) - len(gathered) % _FLUSH_BYTES
        for start in range(0, done, _FLUSH_BYTES):
            self._pass_on(gathered[start : start + _FLUSH_BYTES])
        self._pending = len(gathered) - done
        if self._pending:
            self._pieces.append(gathered[done:])

    def _pass_on(self, block: bytes) -> None:
        self._hash.update(block)
        self._stream_bytes += len(block)
        self._out.write(block)


def create_tar(
    stack: LayerStack,
    out: Writable,
    *,
    path: str = "",
    name: str = "",
    change: ChangeEntry | None = None,
) -> Written:
    """Write a tree, a part of it or one file as a tar stream.

    Args:
        stack: The tree; `LayerStack` of one directory for a plain one.
        out: Where the stream goes.
        path: What to write; a link in the last place is written as a link.
        name: Archive name of ``path``; empty for its content only.
        change: Applied to every entry; a directory left out still has its content written.

    Raises:
        NotFoundError: There is no ``path``.
    """
    writer = TarWriter(out)
    for member in read_members(stack, stack.require(path, follow=not name), name):
        entry = whole_seconds(member.entry)
        changed = entry if change is None else change(entry)
        if changed is not None:
            writer.add(changed, member.content)
    return writer.finish()


def write_layer(
    upper: str,
    out: Writable,
    *,
    lower: Sequence[str] = (),
    change: ChangeEntry | None = None,
) -> Written:
    """Write an overlay upper directory as an OCI layer.

    Args:
        upper: The directory; nobody writes to it meanwhile.
        out: Where the stream goes.
        lower: The layers below, top first. With them, markers that hide nothing are left out:
            overlayfs makes every new directory opaque, whether or not something is below.
        change: Applied to every entry, markers included.
    """
    writer = TarWriter(out)
    with ExitStack() as opened:
        stack = opened.enter_context(LayerStack((upper,)))
        below = opened.enter_context(LayerStack(lower)) if lower else None
        for member in _layer_members(stack, writer if change is None else None):
            for entry in _layer_entries(member, below):
                changed = entry if change is None else change(entry)
                if changed is not None:
                    writer.add(changed, member.content)
    return writer.finish()


def _layer_members(stack: LayerStack, writer: TarWriter | None) -> Iterator[Member]:
    """Yield an upper directory in the order of a walk, but for the files that ``writer`` takes.

    Those are the most by far, and what is done for each decides what a large layer costs: they go
    from the directory to the stream without an entry in between.
    """
    inodes: Inodes = {}
    for level in stack.levels():
        prefix = f"{level.path}/" if level.path else ""
        if prefix:
            here = Found(level.path, level.status, level.descriptor, ".", 0)
            yield from members_at(here, level.path, inodes)
        for name, is_file in level.entries:
            path = prefix + name
            if is_file and writer is not None:
                plain = read_plain_file(name, level.descriptor)
                if plain is not None and writer.add_file(path, *plain):
                    continue
            status = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
            yield from members_at(Found(path, status, level.descriptor, name, 0), path, inodes)


def _layer_entries(member: Member, below: LayerStack | None) -> Iterator[Entry]:
    """Yield a member of an upper directory as a layer has it."""
    entry = whole_seconds(member.entry)
    if entry.kind is Kind.CHAR_DEVICE and entry.device == (0, 0):
        if below is None or below.lookup(member.path, follow=False) is not None:
            parent, slash, base = entry.name.rpartition("/")
            yield deletion_marker(f"{parent}{slash}{WHITEOUT_PREFIX}{base}")
        return
    yield entry
    if member.is_opaque:
        hidden = None if below is None else below.lookup(member.path, follow=False)
        if below is None or (hidden is not None and hidden.is_directory):
            yield deletion_marker(f"{entry.name}/{OPAQUE_NAME}")


def deletion_marker(name: str) -> Entry:
    """Return the empty file of the given ``.wh.`` name."""
    return Entry(name, Kind.REGULAR, 0)


def whole_seconds(entry: Entry) -> Entry:
    """Return ``entry`` without the fraction of its time."""
    # compat: Docker and BuildKit cut times to the second; a fraction would cost every entry a
    # PAX header of 1 KiB.
    # Built anew and not by `_replace`, as this is done for every file of a layer.
    return Entry(*entry[:6], entry.mtime_ns // _NANOS * _NANOS, *entry[7:])
