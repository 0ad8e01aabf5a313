"""The files of one rotated log: ``x.log`` is written, ``x.log.1`` is older, and so on.

A writer may rotate at any moment. A file is therefore known by its inode and kept open: what is
being read stays readable whatever it is called by now, and its successor is found by looking
where the inode has gone.
"""

import os
from typing import Final, NamedTuple

_BLOCK: Final = 64 * 1024
_GAPS: Final = 3
_ATTEMPTS: Final = 100


class LogFile(NamedTuple):
    """One open file of a log."""

    fd: int
    inode: int


def open_chain(path: str) -> list[LogFile]:
    """Return all files of the log, oldest first, open; none when there is no log yet."""
    return _scan_steadily(path, until_inode=-1)


def open_successors(path: str, inode: int) -> list[LogFile]:
    """Return the files written after the one with ``inode``, oldest first, open.

    All there are, when that one has been rotated away altogether.
    """
    chain = _scan_steadily(path, until_inode=inode)
    if chain and chain[0].inode == inode:
        os.close(chain.pop(0).fd)
    return chain


def _scan_steadily(path: str, until_inode: int) -> list[LogFile]:
    """Scan again when the log was rotated meanwhile: the order could be wrong."""
    for _ in range(_ATTEMPTS):
        before = _newest_inodes(path)
        chain = _scan(path, until_inode)
        if _newest_inodes(path) == before:
            break
        close_chain(chain)
    else:
        # Rotated all the time: rather the wrong order than none.
        chain = _scan(path, until_inode)
    chain.reverse()
    return chain


def _scan(path: str, until_inode: int) -> list[LogFile]:
    """Return the files from the newest on, up to and with ``until_inode`` or the oldest, open."""
    chain: list[LogFile] = []
    number = missing = 0
    # A rotation under way moves the oldest first, so one name may be missing in the middle; going
    # the other way, this cannot pass a file unseen.
    while missing <= _GAPS:
        file = try_open(name_of(path, number))
        number += 1
        if file is None:
            missing += 1
            continue
        missing = 0
        if any(known.inode == file.inode for known in chain):
            # The rotation has shifted a file we have.
            os.close(file.fd)
            continue
        chain.append(file)
        if file.inode == until_inode:
            break
    return chain


def _newest_inodes(path: str) -> tuple[int, int]:
    """Return what changes with every rotation: the inodes of the two newest files, 0 for none."""
    return _inode(path), _inode(name_of(path, 1))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def close_chain(chain: list[LogFile]) -> None:
    """Close every file."""
    for file in chain:
        os.close(file.fd)


def name_of(path: str, number: int) -> str:
    """Return the name of the log's ``number``-th file, counted from the newest."""
    return f"{path}.{number}" if number else path


def try_open(path: str) -> LogFile | None:
    """Return the open file, or None when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return LogFile(fd, os.fstat(fd).st_ino)


def is_current(path: str, inode: int) -> bool:
    """Return whether ``inode`` is still the file that is written."""
    return _inode(path) == inode


def find_tail(fd: int, lines: int) -> tuple[int, int]:
    """Return where the last ``lines`` lines of the file begin, and how many there are at most.

    Reads backwards, and no more than it has to. A last line without a newline counts as none:
    its writer has not finished it.
    """
    position = os.fstat(fd).st_size
    found = 0
    while position:
        start = max(0, position - _BLOCK)
        block = os.pread(fd, position - start, start)
        here = block.count(b"\n")
        if found + here > lines:
            # The newline that ends the line before the first one wanted.
            cut = len(block)
            for _ in range(lines - found + 1):
                cut = block.rindex(b"\n", 0, cut)
            return start + cut + 1, lines
        found += here
        position = start
    return 0, found


def seek_tail(chain: list[LogFile], lines: int) -> tuple[list[LogFile], int]:
    """Return the files that hold the last ``lines`` lines and the place in the first of them.

    Files that hold none of them are closed.
    """
    for index in range(len(chain) - 1, -1, -1):
        offset, found = find_tail(chain[index].fd, lines)
        lines -= found
        if lines <= 0 or index == 0:
            close_chain(chain[:index])
            return chain[index:], offset
    return chain, 0
