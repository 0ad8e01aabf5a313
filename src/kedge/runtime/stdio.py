"""Descriptors 0, 1 and 2 of a container's process: given ones, a terminal, or nothing."""

import errno
import os
import stat

from kedge.errdefs import ForbiddenError, SystemFailureError
from kedge.oci.runtime_spec.types import ConsoleSize, User
from kedge.runtime.failures import refusal
from kedge.runtime.rootpath import RootPath


def connect_stdio(fds: tuple[int, int, int], user: User) -> None:
    """Make ``fds`` descriptors 0, 1 and 2; -1 is the container's /dev/null.

    The user becomes the owner of pipes and terminals, so that it may reopen /dev/stdout.
    """
    # A descriptor among 0..2 would be overwritten before it is its turn.
    safe = [os.dup(fd) if 0 <= fd < 3 else fd for fd in fds]
    while any(0 <= fd < 3 for fd in safe):
        safe = [os.dup(fd) if 0 <= fd < 3 else fd for fd in safe]
    null = _open_null() if -1 in safe else -1
    for target, fd in enumerate(safe):
        os.dup2(null if fd == -1 else fd, target)
        found = os.fstat(target)
        if fd != -1 and found.st_uid != user.uid and not _is_null(found):
            try:
                os.fchown(target, user.uid, -1)
            except OSError as error:
                # Read-only, or owned by an id outside this user namespace: as it was, then.
                if error.errno not in (errno.EPERM, errno.EROFS, errno.EINVAL):
                    raise


def give_stdio(fds: tuple[int, int, int], uid: int, gid: int) -> None:
    """Make ``uid`` and ``gid`` of the host the owners of the pipes among ``fds``.

    Root of a user namespace has power over a pipe only if both are somebody in there.
    """
    for fd in fds:
        if fd >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, gid)


def _is_null(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


def _open_null() -> int:
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY)
    if not _is_null(os.fstat(fd)):
        raise ForbiddenError("/dev/null in the container is not the null device")
    return fd


def connect_terminal(slave: int, size: ConsoleSize | None, user: User) -> None:
    """Make ``slave`` the controlling terminal and descriptors 0, 1 and 2 of this session."""
    from kedge.linux import pty  # noqa: PLC0415 - loaded

    if size is not None:
        pty.set_window_size(slave, rows=min(size.height, 65535), columns=min(size.width, 65535))
    connect_stdio((slave, slave, slave), user)
    pty.set_controlling_terminal(0)


def open_terminal(root: RootPath) -> tuple[int, int]:
    """Return master and slave of a new terminal of the container's own devpts."""
    try:
        master = root.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, no_symlinks=True)
    except OSError as error:
        raise refusal("cannot open a terminal: /dev/pts/ptmx in the container", error) from error
    if os.fstat(master).st_rdev != os.makedev(5, 2):
        raise SystemFailureError("cannot open a terminal: /dev/pts/ptmx is no multiplexer")
    from kedge.linux import pty  # noqa: PLC0415 - loaded

    pty.unlock(master)
    return master, pty.open_slave(master)
