"""Read a tree as a sequence of entries with content: the common source of tar streams and copies.

The order depends on names alone, hard links name the first member of their inode, sockets are
left out. Nothing here knows the tar format or where the entries go.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from kedge.archive.entry import Entry, Kind, Segment, entry_of
from kedge.archive.layered import Found, LayerStack, Node
from kedge.archive.whiteouts import is_opaque
from kedge.archive.xattrs import read_xattrs
from kedge.errdefs import InvalidParameterError

_READ_BYTES: Final = 1 << 20
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HOLES_WORTH_IT: Final = 16 << 20
"""Smaller holes are read as zeros, which every reader understands and which compress away."""


class Member(NamedTuple):
    """An entry with its stored content, which is readable until the next member is taken."""

    entry: Entry
    content: Iterable[bytes]
    path: str
    """Where it stands in the stack."""
    is_opaque: bool
    """It is a directory that overlayfs does not merge with those below."""


Inodes = dict[tuple[int, int], str]
"""The first archive name of every inode that has several, by device and number."""


def read_members(
    stack: LayerStack, top: Node, name: str, *, keep_whiteouts: bool = False
) -> Iterator[Member]:
    """Yield ``top`` under ``name``, then everything below it.

    Args:
        stack: The tree.
        top: Where to start; anything, not only a directory.
        name: Archive name of ``top``; empty to yield only what is below it.
        keep_whiteouts: Yield overlayfs whiteouts as the devices they are.

    Raises:
        InvalidParameterError: A directory vanished or became something else meanwhile.
    """
    inodes: Inodes = {}
    if name:
        yield from read_member(stack, top, name, inodes)
    if not top.is_directory:
        return
    skip = len(top.path) + 1 if top.path else 0
    prefix = f"{name.rstrip('/')}/" if name else ""
    for found in stack.walk(top, keep_whiteouts=keep_whiteouts):
        yield from members_at(found, prefix + found.path[skip:], inodes)


def read_member(stack: LayerStack, node: Node, name: str, inodes: Inodes) -> Iterator[Member]:
    """Yield ``node`` itself under ``name``; nothing for a socket or what has just vanished."""
    with stack.hold(node) as found:
        yield from _member(found, name, inodes)


def members_at(found: Found, name: str, inodes: Inodes) -> Iterator[Member]:
    """Yield what a walk has met under ``name``; nothing for a socket or what has just vanished."""
    status = found.status
    if stat.S_ISREG(status.st_mode) and status.st_size <= _READ_BYTES:
        member = _small_file(found, name)
        if member is not None:
            yield member if status.st_nlink == 1 else _linked(member, found, inodes)
    else:
        yield from _member(found, name, inodes)


def read_plain_file(name: str, dir_fd: int) -> tuple[os.stat_result, bytes] | None:
    """Return status and content of what most files are: small, with one name, no attributes.

    None for everything else, and for what cannot be read: `members_at` knows what to do or say.
    """
    try:
        descriptor = os.open(name, _OPEN_FLAGS, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        if size > _READ_BYTES or status.st_nlink != 1 or not stat.S_ISREG(status.st_mode):
            return None
        if os.listxattr(descriptor):
            return None
        content = os.read(descriptor, size) if size else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return (status, content) if len(content) == size else None


def _member(found: Found, name: str, inodes: Inodes) -> Iterator[Member]:
    mode = found.status.st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        descriptor = _open(found)
        if descriptor is None:
            return
        try:
            yield _opened_member(found, name, descriptor, inodes)
        finally:
            os.close(descriptor)
        return
    entry = entry_of(name, found.status, read_xattrs(f"/proc/self/fd/{found.dir_fd}/{found.name}"))
    if entry is None:
        return
    if entry.kind is Kind.SYMLINK:
        try:
            target = os.readlink(found.name, dir_fd=found.dir_fd)
        except OSError:
            return
        entry = entry._replace(link_target=target)
    yield _linked(Member(entry, iter(()), found.path, is_opaque=False), found, inodes)


def _small_file(found: Found, name: str) -> Member | None:
    """Return what most files of most trees are, read at once; nothing for what has vanished."""
    descriptor = _open(found)
    if descriptor is None:
        return None
    status = found.status
    size = status.st_size
    try:
        xattrs = read_xattrs(descriptor)
        content = os.read(descriptor, size) if size else b""
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidParameterError(f"cannot read /{found.path}: {reason}") from None
    finally:
        os.close(descriptor)
    if len(content) != size:
        content = content.ljust(size, b"\0")
    entry = Entry(
        name,
        Kind.REGULAR,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        size,
        status.st_mtime_ns,
        xattrs=xattrs,
    )
    return Member(entry, (content,), found.path, is_opaque=False)


def _open(found: Found) -> int | None:
    """Open a file or directory; None if something else has taken its place."""
    try:
        return os.open(found.name, _OPEN_FLAGS, dir_fd=found.dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return None
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidParameterError(f"cannot read /{found.path}: {reason}") from None


def _opened_member(found: Found, name: str, descriptor: int, inodes: Inodes) -> Member:
    entry = entry_of(name, found.status, read_xattrs(descriptor))
    if entry is None:
        raise InvalidParameterError(f"cannot read /{found.path}: it changed its kind")
    if entry.kind is Kind.DIRECTORY:
        return Member(entry, iter(()), found.path, is_opaque(descriptor))
    segments = _find_segments(descriptor, found.status)
    if segments is not None:
        entry = entry._replace(segments=segments)
    content = _read_content(descriptor, entry)
    return _linked(Member(entry, content, found.path, is_opaque=False), found, inodes)


def _linked(member: Member, found: Found, inodes: Inodes) -> Member:
    """Return a hard link in place of every further name of an inode."""
    status = found.status
    if status.st_nlink == 1:
        return member
    inode = (status.st_dev, status.st_ino)
    first = inodes.get(inode)
    if first is None:
        inodes[inode] = member.entry.name
        return member
    entry = member.entry
    link = Entry(
        entry.name,
        Kind.HARD_LINK,
        entry.mode,
        entry.uid,
        entry.gid,
        mtime_ns=entry.mtime_ns,
        link_target=first,
    )
    return member._replace(entry=link, content=iter(()))


def _find_segments(descriptor: int, status: os.stat_result) -> tuple[Segment, ...] | None:
    """Return the data runs of a file whose holes are worth a sparse entry."""
    if status.st_size - status.st_blocks * 512 < _HOLES_WORTH_IT:
        return None
    segments: list[Segment] = []
    offset = 0
    while offset < status.st_size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
            offset = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                return None  # a file system that cannot tell
            break  # only a hole is left
        offset = min(offset, status.st_size)
        segments.append(Segment(start, offset - start))
    if status.st_size - sum(segment.length for segment in segments) < _HOLES_WORTH_IT:
        return None
    return tuple(segments)


def _read_content(descriptor: int, entry: Entry) -> Iterator[bytes]:
    """Yield exactly as many bytes as the entry promises; a file that shrank ends in zeros."""
    segments = (Segment(0, entry.size),) if entry.segments is None else entry.segments
    for offset, length in segments:
        left = length
        while left:
            piece = os.pread(descriptor, min(left, _READ_BYTES), offset + length - left)
            if not piece:
                piece = bytes(min(left, _READ_BYTES))
            left -= len(piece)
            yield piece
