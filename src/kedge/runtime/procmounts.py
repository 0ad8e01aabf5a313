"""What may be mounted on /proc and /sys of a container.

A process tells the kernel its labels and limits through /proc, so a folder that pretends to be one
would make the runtime believe what is not so (CVE-2019-16884, CVE-2025-52881). The rules and the
words are runc's. Paths are judged after symlinks of the image were followed, by where the opened
descriptor is.
"""

from __future__ import annotations

import os

from kedge.errdefs import ForbiddenError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.runtime.rootpath import RootPath


_SENSITIVE: Final = frozenset(("proc", "sysfs"))
# Files that lxcfs computes for a container.
_EMULATED: Final = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "slabinfo",
        "stat",
        "swaps",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
        "uptime",
    )
)


def check_place(path: str, *, kind: str, source: str, source_fd: int) -> None:
    """Refuse a mount in or on /proc that would hide what the kernel says there.

    Args:
        path: Where, as the container sees it, without symlinks.
        kind: ``bind`` or the type of the file system.
        source: As the user wrote it, for the message.
        source_fd: What is to be mounted; a procfs may be put on /proc.

    Raises:
        ForbiddenError: With runc's text.
    """
    if path == "/proc":
        bound = kind == "bind" and os.fstat(source_fd).st_dev == os.stat(path).st_dev
        if kind == "proc" or bound:
            return
        reason = "it is not of type proc"
    elif path.startswith("/proc/") and path not in _EMULATED:
        reason = "it is inside /proc"
    else:
        return
    raise ForbiddenError(
        f'error mounting "{source}" to rootfs at "{path}": '
        f'"{path}" cannot be mounted because {reason}'
    )


def check_target(root: RootPath, target: int, destination: str, *, kind: str) -> str:
    """Return where ``target`` is in the container.

    Raises:
        ForbiddenError: A procfs or sysfs would go over a symlink (CVE-2019-19921).
    """
    found = root.place_of(target)
    if kind in _SENSITIVE and found != os.path.normpath(destination):
        raise ForbiddenError(f"{destination} in the image is a symlink: {kind} cannot go there")
    return found
