"""Copying an image's content into a volume at its first use.

As Docker: only into an empty volume, with owners, modes, times, extended attributes, links and
devices, and the volume's own folder takes the metadata of the image's. Reading goes through
`LayerStack`, so no link of the image leads out of it.
"""

import os
import shutil
import stat
from typing import Final

from kedge.archive.layered import Found, LayerStack, Node
from kedge.archive.target import TargetTree
from kedge.archive.xattrs import copy_xattrs, read_xattrs, set_xattrs
from kedge.lib.ids import new_id, short_id

_CHUNK: Final = 1 << 30
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def populate(stack: LayerStack, path: str, folder: str, *, is_shown: bool) -> bool:
    """Fill the empty ``folder`` with what ``stack`` has at ``path``; tell whether it did.

    The content appears at once, so that a crash leaves an empty folder, which is filled by the
    next use. Only where a running container shows the folder is it filled file by file.

    Args:
        stack: The image, or what a container made of it.
        path: Where the volume is mounted; links in it are followed inside the image.
        folder: The volume's content.
        is_shown: A running container has it mounted.
    """
    node = stack.lookup(path)
    if node is None or not node.is_directory or os.listdir(folder):
        return False
    if is_shown:
        _copy(stack, node, folder)
        return True
    temporary = f"{folder}.{short_id(new_id())}"
    os.mkdir(temporary, mode=0o700)
    try:
        _copy(stack, node, temporary)
        os.rename(temporary, folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return True


def _copy(stack: LayerStack, top: Node, folder: str) -> None:
    prefix = f"{top.path}/" if top.path else ""
    linked: dict[tuple[int, int], str] = {}
    with TargetTree(folder) as target:
        for found in stack.walk(top):
            path = found.path.removeprefix(prefix)
            if stat.S_ISDIR(found.status.st_mode):
                directory = target.directory(path)
                _copy_metadata(found, directory)
                target.times[path] = found.status.st_mtime_ns
            else:
                parent, _, name = path.rpartition("/")
                _copy_entry(found, target, target.directory(parent), name, linked)
        target.finish()
        status = top.status
        os.fchown(target.root_fd, status.st_uid, status.st_gid)
        os.fchmod(target.root_fd, stat.S_IMODE(status.st_mode))
        copy_xattrs(stack.real_path(top), target.root_fd)
        os.utime(target.root_fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_entry(
    found: Found, target: TargetTree, directory: int, name: str, linked: dict[tuple[int, int], str]
) -> None:
    status = found.status
    key = (status.st_dev, status.st_ino)
    if status.st_nlink > 1:
        if key in linked:
            os.link(
                linked[key], name, src_dir_fd=target.root_fd, dst_dir_fd=directory,
                follow_symlinks=False,
            )  # fmt: skip
            return
        parent = os.readlink(f"/proc/self/fd/{directory}")
        root = os.readlink(f"/proc/self/fd/{target.root_fd}")
        linked[key] = f"{parent}/{name}".removeprefix(f"{root}/")
    if stat.S_ISREG(status.st_mode):
        _copy_file(found, directory, name)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(found.name, dir_fd=found.dir_fd), name, dir_fd=directory)
    elif stat.S_ISSOCK(status.st_mode):
        return  # nobody listens behind it
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=directory)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=directory)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _copy_file(found: Found, directory: int, name: str) -> None:
    reading = os.open(found.name, _READ, dir_fd=found.dir_fd)
    try:
        writing = os.open(name, _WRITE, 0o600, dir_fd=directory)
        try:
            offset = 0
            while copied := os.sendfile(writing, reading, offset, _CHUNK):
                offset += copied
            _set_metadata(reading, writing, found.status)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_metadata(found: Found, directory: int) -> None:
    _set_metadata(found.dir_fd, directory, found.status)


def _set_metadata(source: int, target: int, status: os.stat_result) -> None:
    # The owner first: changing it clears set-user-ID bits and capabilities.
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    set_xattrs(target, read_xattrs(source))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
