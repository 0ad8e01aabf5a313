"""Which snapshotter a host gets: overlay where the kernel can stack on its root, vfs elsewhere."""

import os
from contextlib import suppress
from typing import Final

from kedge.archive.whiteouts import make_opaque, make_whiteout
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.database import Database
from kedge.snapshots.overlay import OverlaySnapshotter
from kedge.snapshots.snapshotter import Snapshotter
from kedge.snapshots.vfs import VfsSnapshotter

_REFUSED_AS_UPPER: Final = frozenset({"overlay", "nfs", "nfs4", "cifs", "9p", "vfat", "fuse"})


def open_snapshotter(root: str, database: Database, *, driver: str = "") -> Snapshotter:
    """Open the snapshots below ``root``.

    Args:
        root: Directory of all snapshotters; made if missing.
        database: The metadata store.
        driver: ``overlay2`` or ``vfs``; empty to choose what works here.

    Raises:
        NotSupportedError: overlay2 was asked for and cannot work.
        InvalidParameterError: There is no such driver.
    """
    os.makedirs(root, mode=0o700, exist_ok=True)
    match driver:
        case "" | "overlay2":
            obstacle = find_overlay_obstacle(root)
            if obstacle is None:
                return OverlaySnapshotter(os.path.join(root, "overlay"), database)
            if driver:
                raise NotSupportedError(f"overlay2 cannot work on {root}: {obstacle}; use vfs")
            return VfsSnapshotter(os.path.join(root, "vfs"), database)
        case "vfs":
            return VfsSnapshotter(os.path.join(root, "vfs"), database)
        case _:
            raise InvalidParameterError(f"no such storage driver: {driver}: use overlay2 or vfs")


def find_overlay_obstacle(root: str) -> str | None:
    """Return why overlayfs would refuse ``root`` for its upper layers; None if it would not."""
    fstype = load_fstype(root)
    if fstype in _REFUSED_AS_UPPER or fstype.startswith("fuse."):
        return f"it is on {fstype}, which overlayfs refuses as upper layer"
    probe = os.path.join(root, f".probe-{os.urandom(4).hex()}")
    os.mkdir(probe, 0o700)
    try:
        descriptor = os.open(probe, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            make_opaque(descriptor)
            make_whiteout("whiteout", dir_fd=descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"its file system keeps no overlay marks: {os.strerror(error.errno or 0).lower()}"
    finally:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(probe, "whiteout"))
        os.rmdir(probe)
    return None


def load_fstype(path: str, mountinfo: str = "/proc/self/mountinfo") -> str:
    """Return the type of the file system ``path`` is on, as proc_pid_mountinfo(5) has it."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            fields, _, rest = line.partition(" - ")
            if fields.split(" ", 3)[2] == wanted:
                return rest.split(" ", 1)[0]
    return "unknown"
