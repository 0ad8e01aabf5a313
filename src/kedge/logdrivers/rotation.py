"""The files of one rotated log: ``x.log`` is written, ``x.log.1`` is older, and so on.

A writer may rotate at any moment. A file is therefore known by its inode and kept open: what is
being read stays readable whatever it is called by now, and its successor is found by looking
where the inode has gone.
"""

import os
from typing import Final

from kedge.logdrivers.source import LogFile, try_open

_BLOCK: Final = 64 * 1024
_GAPS: Final = 3
_ATTEMPTS: Final = 100


def open_chain(path: str) -> list[LogFile]:
    """Return all files of the log, oldest first, open; none when there is no log yet."""
    return _scan_steadily(path, until=None)


def open_successors(path: str, file: LogFile) -> list[LogFile]:
    """Return the files written after ``file``, oldest first, open.

    All there are, when that one has been rotated away altogether.
    """
    chain = _scan_steadily(path, until=file)
    if chain and _is_same(file, chain[0]):
        chain.pop(0).close()
    return chain


def _scan_steadily(path: str, until: LogFile | None) -> list[LogFile]:
    """Scan again when the log was rotated meanwhile: the order could be wrong."""
    for _ in range(_ATTEMPTS):
        chain = _scan(path, until)
        if _was_steady(path, chain):
            break
        close_chain(chain)
    else:
        # Rotated all the time: rather the wrong order than none.
        chain = _scan(path, until)
    chain.reverse()
    return chain


def _was_steady(path: str, chain: list[LogFile]) -> bool:
    """Return whether no rotation came between: the newest file found still has its name.

    It is open, so its inode cannot have been given to another file.
    """
    if not chain:
        return not _inode(path) and not _inode(name_of(path, 1))
    newest = chain[0]
    if is_current(path, newest):
        return True
    # Right after a rotation, and until the next line, there is no current file.
    return not _inode(path) and not newest.is_packed and _inode(f"{path}.1") == newest.inode


def _is_same(known: LogFile, found: LogFile) -> bool:
    """Return whether ``found`` is what has become of ``known``, which is open.

    A plain file that is open keeps its inode from all others, once older gzip files with a number
    that was theirs before are left out, which searching from the newest on does.
    """
    return known.inode == found.inode and (found.is_packed or not known.is_packed)


def _scan(path: str, until: LogFile | None) -> list[LogFile]:
    """Return the files from the newest on, up to and with ``until`` or the oldest, open."""
    chain: list[LogFile] = []
    number = missing = 0
    # A rotation under way moves the oldest first, so one name may be missing in the middle; going
    # the other way, this cannot pass a file unseen.
    while missing <= _GAPS:
        file = try_open(name_of(path, number), may_be_packed=number > 0)
        number += 1
        if file is None:
            missing += 1
            continue
        missing = 0
        if any(os.path.sameopenfile(known.fd, file.fd) for known in chain):
            # The rotation has shifted a file we have.
            file.close()
            continue
        chain.append(file)
        if until is not None and _is_same(until, file):
            break
    return chain


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def close_chain(chain: list[LogFile]) -> None:
    """Close every file."""
    for file in chain:
        file.close()


def name_of(path: str, number: int) -> str:
    """Return the name of the log's ``number``-th file, counted from the newest."""
    return f"{path}.{number}" if number else path


def is_current(path: str, file: LogFile) -> bool:
    """Return whether ``file`` is still the one that is written."""
    return not file.is_packed and _inode(path) == file.inode


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


def _find_tail_of(file: LogFile, lines: int) -> tuple[int, int]:
    if not file.is_packed:
        return find_tail(file.fd, lines)
    there = file.count_lines()
    return (0, there) if there <= lines else (file.skip_lines(there - lines), lines)


def seek_tail(chain: list[LogFile], lines: int) -> tuple[list[LogFile], int]:
    """Return the files that hold the last ``lines`` lines and the place in the first of them.

    Files that hold none of them are closed.
    """
    for index in range(len(chain) - 1, -1, -1):
        offset, found = _find_tail_of(chain[index], lines)
        lines -= found
        if lines <= 0 or index == 0:
            close_chain(chain[:index])
            return chain[index:], offset
    return chain, 0
