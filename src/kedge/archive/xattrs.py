"""Extended attributes as layers carry them: which to read, which to set, which never.

xattr(7) names the classes. ``trusted.overlay.*`` steers overlayfs and ``security.selinux`` is
the host's policy: neither enters or leaves a layer.
"""

import errno
import os
from collections.abc import Mapping
from typing import Final

from kedge.archive.entry import NO_XATTRS
from kedge.archive.whiteouts import OVERLAY_XATTR_PREFIX

_CARRIED: Final = ("user.", "security.capability", "system.posix_acl_")
_NEVER_SET: Final = (OVERLAY_XATTR_PREFIX, "security.selinux")
_REFUSALS: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ERANGE})


def read_xattrs(file: int | str) -> Mapping[str, bytes]:
    """Return the attributes of a file that belong into an archive.

    Args:
        file: Descriptor, or a path whose last part is not followed.
    """
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
    except OSError:
        return NO_XATTRS  # a file system without attributes
    if not names:
        return NO_XATTRS
    # A PAX record ends its name at the first "=".
    return {
        name: os.getxattr(file, name, follow_symlinks=follow)
        for name in names
        if name.startswith(_CARRIED) and "=" not in name
    }


def set_xattrs(file: int | str, xattrs: Mapping[str, bytes]) -> list[str]:
    """Set attributes on a file; return the names of those the file system or kernel refused.

    Args:
        file: Descriptor, or a path whose last part is not followed.
        xattrs: What an archive says; names no layer may set are passed over.

    Raises:
        OSError: Out of space, or an I/O error.
    """
    refused: list[str] = []
    for name, value in xattrs.items():
        if name.startswith(_NEVER_SET):
            continue
        try:
            os.setxattr(file, name, value, follow_symlinks=isinstance(file, int))
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            refused.append(name)
    return refused


def copy_xattrs(source: int | str, target: int | str) -> None:
    """Give ``target`` the attributes of ``source``, as far as its file system takes them."""
    set_xattrs(target, read_xattrs(source))
