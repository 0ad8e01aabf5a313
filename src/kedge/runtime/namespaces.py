"""Which namespaces a container joins and which it gets anew."""

import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, NoReturn

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.linux import namespaces as ns
from kedge.oci.runtime_spec.types import IdMapping, Namespace
from kedge.runtime.channel import CONTINUE, Channel, open_channel
from kedge.runtime.child import fork_child, run_reporting
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


def write_id_maps(pid: int, uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> None:
    """Give the new user namespace of ``pid`` its mappings."""
    for name, mappings in (("uid", uids), ("gid", gids)):
        text = "".join(f"{each.container_id} {each.host_id} {each.size}\n" for each in mappings)
        try:
            with open(f"/proc/{pid}/{name}_map", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            raise refusal(f"cannot map the {name}s of the user namespace", error) from error


def open_user_namespace(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> int:
    """Return a descriptor of a new user namespace with these mappings and nobody in it.

    A mount is id-mapped by such a namespace; the process that made it is gone on return.
    """
    line, theirs = open_channel()
    child = fork_child(lambda: _hold_user_namespace(theirs))
    try:
        theirs.close()
        line.receive()
        write_id_maps(child.pid, uids, gids)
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        line.close()
        child.destroy()


def _hold_user_namespace(line: Channel) -> NoReturn:
    def hold() -> None:
        ns.unshare(ns.CLONE_NEWUSER)
        line.send(CONTINUE)
        signal.pause()

    run_reporting(line, "make a user namespace", hold)


@contextmanager
def children_in_pid_namespace(*, new: bool = False, fd: int = -1) -> Generator[None, None, None]:
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
