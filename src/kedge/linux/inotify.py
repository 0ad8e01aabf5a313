"""``inotify(7)``: watches on files and directories, and the events read back. No policy."""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from kedge.linux.libc import LIBC, check

# include/uapi/linux/inotify.h
IN_MODIFY: Final = 0x00000002
IN_MOVED_FROM: Final = 0x00000040
IN_MOVED_TO: Final = 0x00000080
IN_CREATE: Final = 0x00000100
IN_DELETE: Final = 0x00000200
IN_DELETE_SELF: Final = 0x00000400
IN_Q_OVERFLOW: Final = 0x00004000
IN_IGNORED: Final = 0x00008000
IN_ONLYDIR: Final = 0x01000000

_EVENT: Final = struct.Struct("iIII")

_inotify_init1 = LIBC.inotify_init1
_inotify_add_watch = LIBC.inotify_add_watch
_inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_inotify_rm_watch = LIBC.inotify_rm_watch


class Event(NamedTuple):
    """What happened, to which watch, and to which name inside a watched directory."""

    watch: int
    """-1 with ``IN_Q_OVERFLOW``."""
    mask: int
    name: str


def init() -> int:
    """Return a new non-blocking inotify descriptor, closed on exec."""
    return check(_inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch ``path`` for ``mask``; return the watch, which is the same for the same inode."""
    return check(_inotify_add_watch(fd, os.fsencode(path), mask), path)


def remove_watch(fd: int, watch: int) -> None:
    """Stop a watch."""
    check(_inotify_rm_watch(fd, watch))


def parse_events(data: bytes) -> Iterator[Event]:
    """Yield the events in what was read from the descriptor."""
    offset = 0
    while offset < len(data):
        watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        name = data[offset : offset + length].rstrip(b"\0")
        offset += length
        yield Event(watch, mask, os.fsdecode(name))
