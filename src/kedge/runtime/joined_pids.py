"""Joining the pid namespace of another container, which may be hostile.

Whoever is in a pid namespace can be seen by everybody in it, and one with CAP_SYS_PTRACE there
reaches the root directory and the descriptors of whom it sees: of a process that still is the
host's, the host. So the container's process joins last, when its own root is all it has: it forks
once more, as for an exec (`kedge.runtime.execute`). Only a procfs is of the namespace its
maker is in; it is made before by a process whose root is empty, and that has nothing but the line
to send it.

Where there is a user namespace, too, the process is born in the pid namespace, and out of reach for
its neighbours by belonging to the host's users until it has joined.
"""

from __future__ import annotations

import os

from kedge.errdefs import ConflictError
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import namespaces as ns
from kedge.linux import process
from kedge.runtime import channel, rootfs
from kedge.runtime.channel import Channel, open_channel
from kedge.runtime.child import fork_child, run_reporting
from kedge.runtime.failures import refusal
from kedge.runtime.filesystems import attach_root, new_filesystem
from kedge.runtime.mount_options import MountOptions
from kedge.runtime.rootfs import Source
from kedge.runtime.rootpath import RootPath

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from kedge.runtime.rootfs import PlannedMount

_DOING = "mount proc of the pid namespace"


def open_procs(mounts: Sequence[PlannedMount], pid_fd: int) -> dict[int, Source]:
    """Return the procfs among ``mounts``, by their position, detached and of another namespace."""
    return {
        position: Source(_open_proc(mount, pid_fd), classic=False)
        for position, mount in enumerate(mounts)
        if mount.kind == "proc"
    }


def join(pid_fd: int) -> None:
    """Have the next child be born in the pid namespace ``pid_fd``, which is closed."""
    try:
        ns.setns(pid_fd, ns.CLONE_NEWPID)
    except OSError as error:
        raise refusal("cannot join a namespace (pid)", error) from error
    os.close(pid_fd)


def _open_proc(mount: PlannedMount, pid_fd: int) -> int:
    line, theirs = open_channel()
    child = fork_child(lambda: _leave_host(theirs, mount, pid_fd))
    theirs.close()
    try:
        message = line.receive()
    finally:
        line.close()
        os.waitpid(child.pid, 0)
        os.close(child.pidfd)
    if not message.fds:
        raise ConflictError(f"cannot {_DOING}: who was to do it has been killed")
    return message.fds[0]


def _leave_host(line: Channel, mount: PlannedMount, pid_fd: int) -> NoReturn:
    """Have an empty root, and then a child in the pid namespace; end after it."""

    def leave() -> None:
        process.close_from(3, keep=[line.fileno(), pid_fd])
        ns.unshare(ns.CLONE_NEWNS)
        rootfs.isolate_propagation("private")
        empty = new_filesystem("tmpfs", "tmpfs", MountOptions())
        attach_root(empty)
        rootfs.pivot(RootPath(empty), keep_host_root=False)
        os.close(empty)
        join(pid_fd)
        pid = os.fork()  # noqa: TID251 - the runtime's own fork
        if pid:
            os.waitpid(pid, 0)
            os._exit(0)
        fd = new_filesystem(mount.kind, mount.spec.source or mount.kind, mount.options)
        line.send(channel.CONTINUE, b"", [fd])
        os._exit(0)

    run_reporting(line, _DOING, leave)
