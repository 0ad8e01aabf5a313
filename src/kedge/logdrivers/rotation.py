"""The files of one rotated log: ``x.log`` is written, ``x.log.1`` is older, and so on.

A writer may rotate at any moment. A file is therefore known by its inode and kept open: what is
being read stays readable whatever it is called by now, and its successor is found by looking
where the inode has gone.
"""

import os
from typing import Final, NamedTuple

_BLOCK: Final = 64 * 1024


class LogFile(NamedTuple):
    """One open file of a log."""

    fd: int
    inode: int


def open_chain(path: str) -> list[LogFile]:
    """Return all files of the log, oldest first, open; none when there is no log yet."""
    chain: list[LogFile] = []
    number = 0
    while (file := try_open(name_of(path, number))) is not None:
        if any(known.inode == file.inode for known in chain):
            # A rotation went on meanwhile and has shifted a file we have.
            os.close(file.fd)
        else:
            chain.append(file)
        number += 1
    chain.reverse()
    return chain


def open_successors(path: str, inode: int) -> list[LogFile]:
    """Return the files written after the one with ``inode``, oldest first, open.

    All there are, when that one has been rotated away altogether.
    """
    chain = open_chain(path)
    inodes = [file.inode for file in chain]
    older = inodes.index(inode) + 1 if inode in inodes else 0
    close_chain(chain[:older])
    return chain[older:]


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
    try:
        return os.stat(path).st_ino == inode
    except FileNotFoundError:
        return False


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
