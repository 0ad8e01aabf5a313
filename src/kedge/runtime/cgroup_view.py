"""What a container sees at /sys/fs/cgroup: a cgroup2 file system, or v1's directories side by side.

Version 1 is a tmpfs with the container's own directory of every controller bound in, and
symlinks such as ``cpu`` for controllers that share a directory (``cpu,cpuacct``).
"""

from __future__ import annotations

import os

from kedge.errdefs import NotSupportedError
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import mount as lm
from kedge.runtime.filesystems import change_attributes, clone_mount, new_filesystem
from kedge.runtime.mount_options import MountOptions, parse_mount_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.runtime.rootpath import RootPath


def mount_cgroup(
    root: RootPath, destination: str, options: MountOptions, cgroups: Mapping[str, str]
) -> None:
    """Attach the container's view of its cgroups at ``destination``.

    Args:
        root: The container's root.
        destination: Usually /sys/fs/cgroup.
        options: The mount's options; ``ro`` goes for every directory.
        cgroups: The container's directory per v1 controller, or under ``""`` on v2.
    """
    if not cgroups:
        raise NotSupportedError(f"cannot mount {destination}: the container has no cgroup")
    target = root.ensure_directory(destination)
    try:
        if "" in cgroups:
            fd = _unified(options, cgroups[""])
            lm.move_mount(fd, target)
            os.close(fd)
        else:
            _mount_v1(target, options, cgroups)
    finally:
        os.close(target)


def _unified(options: MountOptions, directory: str) -> int:
    try:
        # In a cgroup namespace this shows the container's cgroup as root.
        return new_filesystem("cgroup2", "cgroup", options._replace(data=(), superblock=()))
    except (NotSupportedError, PermissionError, OSError):
        fd = clone_mount(directory, recursive=True)
        change_attributes(fd, options)
        return fd


def _mount_v1(target: int, options: MountOptions, cgroups: Mapping[str, str]) -> None:
    plain = options._replace(attr_set=options.attr_set & ~lm.MOUNT_ATTR_RDONLY)
    tmpfs = new_filesystem(
        "tmpfs", "cgroup", plain._replace(data=parse_mount_options(("mode=755",)).data)
    )
    try:
        lm.move_mount(tmpfs, target)
        for controller, directory in cgroups.items():
            name = _hierarchy_name(controller, directory)
            if not _make_directory(tmpfs, name):
                continue
            fd = clone_mount(directory, recursive=False)
            try:
                change_attributes(fd, options)
                lm.move_mount(fd, tmpfs, name)
            finally:
                os.close(fd)
        for controller, directory in cgroups.items():
            name = _hierarchy_name(controller, directory)
            if controller in name.split(",") and controller != name:
                os.symlink(name, controller, dir_fd=tmpfs)
        if options.attr_set & lm.MOUNT_ATTR_RDONLY:
            lm.mount_setattr(tmpfs, attr_set=lm.MOUNT_ATTR_RDONLY)
    finally:
        os.close(tmpfs)


def _hierarchy_name(controller: str, directory: str) -> str:
    """Return the directory name of the hierarchy, ``cpu,cpuacct`` where the two are one."""
    for part in directory.split("/"):
        if controller in part.split(","):
            return part
    return controller.removeprefix("name=")


def _make_directory(parent: int, name: str) -> bool:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return False
    return True
