"""`Entry`: one member of a tar archive, free of any wire format.

The reader makes entries, the writer and the extractor take them; a function from Entry to Entry
is all a caller needs to filter, rename or change owners on the way. Names are file-system text
(`os.fsdecode`), so that bytes that are no UTF-8 survive the round trip.
"""

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
