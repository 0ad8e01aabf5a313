"""Which namespaces a container joins and which it gets anew.

A user namespace is always joined: a new one is made beforehand by a helper process that is gone
at once (`open_user_namespace`). So its mapping is complete before anybody runs in it, and what
must exist for it first (id-mapped mounts, a network namespace it owns) can be made first.
"""

from __future__ import annotations

import fcntl
import os

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.blocks import contextmanager
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import namespaces as ns
from kedge.runtime.channel import CONTINUE, Channel, open_channel
from kedge.runtime.child import fork_child, run_reporting
from kedge.runtime.failures import reason, refusal

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Final, NoReturn

    from kedge.oci.runtime_spec.types import IdMapping, Namespace


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

_NS_GET_USERNS: Final = 0xB701


class HostIds(NamedTuple):
    """A user and a group of the host."""

    uid: int = 0
    gid: int = 0


class NamespacePlan(NamedTuple):
    """Namespaces as flags to unshare and descriptors to join."""

    unshare_flags: int
    """Everything to be made by the child; with a user namespace also the pid namespace."""
    joins: tuple[tuple[int, int], ...]
    """Descriptor and flag, without the user and the pid namespace."""
    new_pid: bool
    """Whether the parent makes the pid namespace."""
    pid_fd: int
    """Descriptor of a pid namespace to join; -1 for none."""
    new_user: bool
    """Whether a user namespace is wanted that ``user_fd`` does not name yet."""
    user_fd: int
    """Descriptor of the user namespace to join; -1 for none."""

    @property
    def late_pid_fd(self) -> int:
        """Descriptor of a pid namespace to join last (`kedge.runtime.joined_pids`), or -1."""
        return self.pid_fd if self.user_fd < 0 else -1

    def fds(self) -> list[int]:
        """Return every open descriptor of the plan."""
        found = [*(fd for fd, _ in self.joins), self.pid_fd, self.user_fd]
        return [fd for fd in found if fd >= 0]

    def join(self) -> None:
        """Join the namespaces given by path, except the user's; close their descriptors.

        With the host's rights, because those namespaces may belong to another user namespace.
        """
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
    by_flag = {flag: fd for fd, flag in joins}
    enters_user = "user" in wanted
    apart = (ns.CLONE_NEWPID, ns.CLONE_NEWUSER)
    return NamespacePlan(
        unshare_flags=flags & ~ns.CLONE_NEWUSER & (-1 if enters_user else ~ns.CLONE_NEWPID),
        joins=tuple((fd, flag) for fd, flag in joins if flag not in apart),
        new_pid=bool(flags & ns.CLONE_NEWPID) and not enters_user,
        pid_fd=by_flag.get(ns.CLONE_NEWPID, -1),
        new_user=bool(flags & ns.CLONE_NEWUSER),
        user_fd=by_flag.get(ns.CLONE_NEWUSER, -1),
    )


def host_ids(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> HostIds:
    """Return what root of a container with these mappings is on the host; 0 where it is nobody."""
    return HostIds(_host_id(uids), _host_id(gids))


def _host_id(mappings: Sequence[IdMapping]) -> int:
    for each in mappings:
        if each.container_id == 0:
            return each.host_id
    return 0


def with_user_namespace(
    plan: NamespacePlan,
    uids: Sequence[IdMapping],
    gids: Sequence[IdMapping],
    *,
    inherit_network: bool,
) -> NamespacePlan:
    """Return ``plan`` with a descriptor of the user namespace it wants, which may be made here.

    Args:
        plan: Left as it is when it wants none, or names one.
        uids: The mapping of a new one.
        gids: The same for groups.
        inherit_network: Use the one that this process's network namespace belongs to, if that is
            not this process's own.

    Raises:
        InvalidParameterError: There is no mapping.
    """
    if not plan.new_user:
        return plan
    owner = _owner_of_network() if inherit_network else -1
    if owner < 0:
        if not (uids and gids):
            raise InvalidParameterError("a user namespace needs linux.uidMappings and gidMappings")
        owner = open_user_namespace(uids, gids)
    return plan._replace(user_fd=owner, new_user=False)


def _owner_of_network() -> int:
    """Return the user namespace that owns our network namespace; -1 when we are in it."""
    network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        owner = fcntl.ioctl(network, _NS_GET_USERNS)
    finally:
        os.close(network)
    if os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user")):
        os.close(owner)
        return -1
    return owner


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
            with open(f"/proc/{pid}/{name}_map", "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise refusal(f"cannot map the {name}s of the user namespace", error) from error


def open_user_namespace(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> int:
    """Return a descriptor of a new user namespace with these mappings and nobody in it.

    A mount is id-mapped by such a namespace; the process that made it is gone on return.
    """
    return _open_new(uids, gids, ("user", ns.CLONE_NEWUSER))


def open_network_namespace(
    uids: Sequence[IdMapping], gids: Sequence[IdMapping], *, owner: str = ""
) -> int:
    """Return a descriptor of a new network namespace that belongs to a user namespace.

    Only in such a one has the container's root the rights of a network administrator, and may a
    sysfs be mounted.

    Args:
        uids: Mapping of a new user namespace.
        gids: The same for groups.
        owner: Path of the user namespace, in place of a new one.
    """
    if owner:
        return _open_in(_open("user", owner))
    return _open_new(uids, gids, ("net", ns.CLONE_NEWUSER | ns.CLONE_NEWNET))


def _open_new(uids: Sequence[IdMapping], gids: Sequence[IdMapping], wanted: tuple[str, int]) -> int:
    name, flags = wanted
    line, theirs = open_channel()
    child = fork_child(lambda: _hold_namespaces(theirs, flags))
    try:
        theirs.close()
        line.receive()
        write_id_maps(child.pid, uids, gids)
        return os.open(f"/proc/{child.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        line.close()
        child.destroy()


def _open_in(owner: int) -> int:
    line, theirs = open_channel()
    child = fork_child(lambda: _hold_namespaces(theirs, ns.CLONE_NEWNET, owner))
    try:
        theirs.close()
        line.receive()
        return os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(owner)
        line.close()
        child.destroy()


def _hold_namespaces(line: Channel, flags: int, owner: int = -1) -> NoReturn:
    def hold() -> None:
        if owner >= 0:
            ns.setns(owner, ns.CLONE_NEWUSER)
        ns.unshare(flags)
        line.send(CONTINUE)
        line.receive()  # until this process is killed

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
