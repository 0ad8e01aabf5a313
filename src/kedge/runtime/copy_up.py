"""Copying what a new tmpfs hides into it (`tmpcopyup`), without ever leaving either directory."""

from __future__ import annotations

import os
import stat

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_CHUNK: Final = 1 << 30


def copy_tree(source: int, target: int) -> None:
    """Copy everything below the directory ``source`` into ``target``, with owners and modes.

    Both are directory descriptors and may be ``O_PATH``. Device nodes and sockets are
    left out: the tmpfs is the container's own and gets no devices from an image.
    """
    _copy_directory(".", source, ".", target)


def _copy_entries(source: int, target: int) -> None:
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        elif stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            _copy_directory(name, source, name, target)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(name, source, target)


def _copy_directory(source_name: str, source: int, target_name: str, target: int) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    inner_source = os.open(source_name, flags, dir_fd=source)
    try:
        inner_target = os.open(target_name, flags, dir_fd=target)
        try:
            _copy_attributes(os.fstat(inner_source), inner_target)
            _copy_entries(inner_source, inner_target)
        finally:
            os.close(inner_target)
    finally:
        os.close(inner_source)


def _copy_file(name: str, source: int, target: int) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writing = os.open(name, flags, 0o600, dir_fd=target)
        try:
            offset = 0
            while copied := os.sendfile(writing, reading, offset, _CHUNK):
                offset += copied
            _copy_attributes(os.fstat(reading), writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_attributes(found: os.stat_result, target: int) -> None:
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, stat.S_IMODE(found.st_mode))
