"""Counting what a directory tree holds."""

import os

from kedge.archive.whiteouts import is_whiteout
from kedge.snapshots.snapshotter import Usage


def count_usage(path: str) -> Usage:
    """Return the size of the files below ``path``, every inode once; links are not followed.

    What vanishes meanwhile is not counted.
    """
    size_bytes = 0
    linked: set[tuple[int, int]] = set()
    inodes = 1
    pending = [path]
    while pending:
        try:
            listing = os.scandir(pending.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with listing:
            for entry in listing:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inodes += 1
                    pending.append(entry.path)
                    continue
                if status.st_nlink > 1 and not is_whiteout(status):
                    inode = (status.st_dev, status.st_ino)
                    if inode in linked:
                        continue
                    linked.add(inode)
                inodes += 1
                size_bytes += status.st_size
    return Usage(size_bytes, inodes)
