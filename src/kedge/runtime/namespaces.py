"""Which namespaces a container joins and which it gets anew."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.linux import namespaces as ns
from kedge.oci.runtime_spec.types import Namespace
from kedge.runtime.failures import reason, refusal

FLAGS: Final = {
    "user": ns.CLONE_NEWUSER,
    "ipc": ns.CLONE_NEWIPC,
    "uts": ns.CLONE_NEWUTS,
    "network": ns.CLONE_NEWNET,
    "cgroup": ns.CLONE_NEWCGROUP,
    "time": ns.CLONE_NEWTIME,
    "pid": ns.CLONE_NEWPID,
    "mount": ns.CLONE_NEWNS,
}
"""In the order to join them: a user namespace first, since it grants the rights for the others."""


class NamespacePlan(NamedTuple):
    """Namespaces as flags to unshare and descriptors to join."""

    unshare_flags: int
    """Everything to be made by the child, without the pid namespace unless a user one is made."""
    joins: tuple[tuple[int, int], ...]
    """Descriptor and flag, in order, without the pid namespace."""
    new_pid: bool
    pid_fd: int
    """Descriptor of a pid namespace to join; -1 for none."""

    def fds(self) -> list[int]:
        """Return every open descriptor of the plan."""
        return [*(fd for fd, _ in self.joins), *([self.pid_fd] if self.pid_fd >= 0 else [])]

    def join(self) -> None:
        """Join the namespaces given by path and close their descriptors."""
        for fd, flag in self.joins:
            try:
                ns.setns(fd, flag)
            except OSError as error:
                raise refusal(f"cannot join a namespace ({_name(flag)})", error) from error
            os.close(fd)

    def close(self) -> None:
        """Close every descriptor."""
        for fd in self.fds():
            os.close(fd)


def _name(flag: int) -> str:
    return next(name for name, value in FLAGS.items() if value == flag)


def plan_namespaces(
    namespaces: tuple[Namespace, ...], *, inherit_network: bool = False
) -> NamespacePlan:
    """Open the namespaces to join and sum up those to make.

    Args:
        namespaces: As in the spec.
        inherit_network: The caller has made the network namespace already and is in it.

    Raises:
        InvalidParameterError: A type is given twice, or there is no mount namespace.
        NotFoundError: A path does not exist.
    """
    wanted: dict[str, str] = {}
    for namespace in namespaces:
        if namespace.type in wanted:
            raise InvalidParameterError(f"the namespace {namespace.type} is given twice")
        wanted[namespace.type] = namespace.path
    if "mount" not in wanted:
        raise InvalidParameterError("a container needs a mount namespace (linux.namespaces)")
    if inherit_network and wanted.get("network") == "":
        del wanted["network"]
    flags = 0
    joins: list[tuple[int, int]] = []
    try:
        for name, flag in FLAGS.items():
            path = wanted.get(name)
            if path == "":
                flags |= flag
            elif path is not None:
                joins.append((_open(name, path), flag))
    except BaseException:
        for fd, _flag in joins:
            os.close(fd)
        raise
    pid_fd = next((fd for fd, flag in joins if flag == ns.CLONE_NEWPID), -1)
    in_user_namespace = bool(flags & ns.CLONE_NEWUSER)
    return NamespacePlan(
        unshare_flags=flags if in_user_namespace else flags & ~ns.CLONE_NEWPID,
        joins=tuple((fd, flag) for fd, flag in joins if flag != ns.CLONE_NEWPID),
        new_pid=bool(flags & ns.CLONE_NEWPID) and not in_user_namespace,
        pid_fd=pid_fd,
    )


def _open(name: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFoundError(f"cannot join the {name} namespace {path}: {reason(error)}") from error


@contextmanager
def children_in_pid_namespace(*, new: bool = False, fd: int = -1) -> Iterator[None]:
    """Have children forked inside the block start in another pid namespace.

    Args:
        new: In a new one, whose first process the first child is.
        fd: In the one of this descriptor (a pidfd or a namespace).
    """
    if not new and fd < 0:
        yield
        return
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    parent = os.getpid()
    try:
        if new:
            ns.unshare(ns.CLONE_NEWPID)
        else:
            ns.setns(fd, ns.CLONE_NEWPID)
        yield
    finally:
        if os.getpid() == parent:
            ns.setns(ours, ns.CLONE_NEWPID)
            os.close(ours)
