"""Delete directory trees of any size and depth through directory descriptors.

No symbolic link is followed. A container can build trees deeper than `PATH_MAX` or the limit of
open files; what lies too deep is first moved up, so neither memory nor descriptors run out.
"""

import os
import stat
from typing import Final

_MAX_DEPTH: Final = 64
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(name: str, *, dir_fd: int) -> None:
    """Make sure that ``name`` does not exist, whatever it was.

    Raises:
        OSError: Something inside is a mount point or immutable.
    """
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=dir_fd)
            return
    except FileNotFoundError:
        return
    top_fd = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        # A subtree that was moved up is found by the next pass.
        while not _empty(top_fd, top_fd, 0):
            pass
    finally:
        os.close(top_fd)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(directory_fd: int, top_fd: int, depth: int) -> bool:
    """Delete the content of a directory; False if a part of it was moved up instead."""
    is_complete = True
    with os.scandir(directory_fd) as listing:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=directory_fd)
            continue
        try:
            os.rmdir(name, dir_fd=directory_fd)
        except OSError:  # not empty
            is_complete &= _remove_directory(name, directory_fd, top_fd, depth)
    return is_complete


def _remove_directory(name: str, parent_fd: int, top_fd: int, depth: int) -> bool:
    if depth >= _MAX_DEPTH:
        os.rename(name, f".{os.urandom(8).hex()}", src_dir_fd=parent_fd, dst_dir_fd=top_fd)
        return False
    child_fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent_fd)
    try:
        is_complete = _empty(child_fd, top_fd, depth + 1)
    finally:
        os.close(child_fd)
    os.rmdir(name, dir_fd=parent_fd)
    return is_complete
