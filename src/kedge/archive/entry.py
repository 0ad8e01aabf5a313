"""`Entry`: one member of a tar archive, free of any wire format.

The reader makes entries, the writer and the extractor take them; a function from Entry to Entry
is all a caller needs to filter, rename or change owners on the way. Names are file-system text
(`os.fsdecode`), so that bytes that are no UTF-8 survive the round trip.
"""

import os
import stat
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What an entry is in the file system."""

    REGULAR = "regular file"
    HARD_LINK = "hard link"
    SYMLINK = "symbolic link"
    CHAR_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"


NO_XATTRS: Final[Mapping[str, bytes]] = MappingProxyType({})


class Segment(NamedTuple):
    """A run of data in a sparse file; what no segment covers reads as zeros."""

    offset: int
    length: int


class Entry(NamedTuple):
    """One archive member; the content travels beside it."""

    name: str
    """Path as the archive spells it: it may be absolute, hold ``..`` or end in a slash."""
    kind: Kind
    mode: int = 0o644
    """Permission bits with setuid, setgid and sticky; no file type."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes a reader of the extracted file sees; 0 for everything but regular files."""
    mtime_ns: int = 0
    link_target: str = ""
    """Text of a symbolic link, or the archive path a hard link names."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""
    xattrs: Mapping[str, bytes] = NO_XATTRS
    segments: tuple[Segment, ...] | None = None
    """Where the content of a sparse file goes; None for a plain file. The content beside the
    entry is then only these runs, one after the other."""

    @property
    def stored_size(self) -> int:
        """Bytes of content that travel beside the entry."""
        if self.segments is None:
            return self.size
        return sum(segment.length for segment in self.segments)


_FORMAT_KINDS: Final = {
    stat.S_IFREG: Kind.REGULAR,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}


def entry_of(name: str, status: os.stat_result, xattrs: Mapping[str, bytes]) -> Entry | None:
    """Return the entry for an inode; None for a socket, which tar cannot hold.

    A symbolic link's text is left for the caller to fill in.
    """
    kind = _FORMAT_KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    device = status.st_rdev
    return Entry(
        name,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size if kind is Kind.REGULAR else 0,
        status.st_mtime_ns,
        "",
        (os.major(device), os.minor(device)) if device else (0, 0),
        xattrs,
    )
