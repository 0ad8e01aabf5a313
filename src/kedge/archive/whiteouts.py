"""How layers say that something is gone: OCI ``.wh.`` names and overlayfs inodes.

Follows the OCI image-spec ("Layer Filesystem Changeset", Whiteouts) and the kernel's
Documentation/filesystems/overlayfs.rst ("whiteouts and opaque directories").
"""

import os
import stat
from typing import Final

WHITEOUT_PREFIX: Final = ".wh."
"""An entry ``dir/.wh.name`` deletes ``dir/name`` of the layers below."""
OPAQUE_NAME: Final = ".wh..wh..opq"
"""An entry ``dir/.wh..wh..opq`` hides everything below in ``dir``."""
RESERVED_PREFIX: Final = ".wh..wh."
"""Names of AUFS's own bookkeeping, which old layers still contain."""

OPAQUE_XATTR: Final = "trusted.overlay.opaque"
OVERLAY_XATTR_PREFIX: Final = "trusted.overlay."
"""Attributes that steer overlayfs. A layer may never bring them along."""


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether an inode is overlayfs's mark for a deleted name: character device 0/0."""
    return status.st_rdev == 0 and stat.S_ISCHR(status.st_mode)


def make_whiteout(name: str, *, dir_fd: int) -> None:
    """Hide ``name`` of the layers below."""
    os.mknod(name, stat.S_IFCHR, 0, dir_fd=dir_fd)


def is_opaque(directory: str | int) -> bool:
    """Tell whether a directory of a layer hides the directories below it."""
    try:
        return os.getxattr(directory, OPAQUE_XATTR) == b"y"
    except OSError:
        return False


def make_opaque(directory: str | int) -> None:
    """Let a directory of a layer hide the directories below it."""
    os.setxattr(directory, OPAQUE_XATTR, b"y")
