"""The child: from the fork to `execve`, as a container's first process.

Order of operations, each step where it is because of the next:

1. signals, dumpable, the cgroup (so that a new cgroup namespace has it as root), descriptors;
2. hard limits and oom_score_adj, with the host's privileges;
3. namespaces to join, then those to make; with a user namespace the parent writes the id maps,
   and the process forks once more, because a pid namespace must belong to the user namespace;
4. mounts, devices, hooks, console, sysctls, protected paths, `pivot_root`;
5. "created" to the parent, then waiting for "start";
6. `kedge.runtime.launch.become`.

Nothing may escape from here: the interpreter above this frame is a copy of the caller's.
"""

import gc
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from kedge.errdefs import KedgeError, SystemFailureError
from kedge.linux import namespaces as ns
from kedge.linux import prctl, process, pty
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import Device
from kedge.runtime import channel, devices, launch, rootfs
from kedge.runtime.cgroups.protocol import Cgroup
from kedge.runtime.channel import Channel
from kedge.runtime.failures import refusal
from kedge.runtime.filesystems import mount_root
from kedge.runtime.launch import Launch
from kedge.runtime.namespaces import NamespacePlan
from kedge.runtime.rootfs import PlannedMount
from kedge.runtime.rootpath import RootPath


class InitPlan(NamedTuple):
    """Everything the child needs, computed before the fork."""

    launch: Launch
    namespaces: NamespacePlan
    root: str
    root_mounts: Sequence[Mount]
    root_readonly: bool
    root_propagation: str
    mounts: Sequence[PlannedMount]
    devices: Sequence[Device]
    default_dev: bool
    """Whether /dev is the container's own, to be filled, and not the host's."""
    masked_paths: Sequence[str]
    readonly_paths: Sequence[str]
    sysctls: Mapping[str, str]
    hostname: str
    domainname: str
    cgroup: Cgroup | None
    has_hooks: bool
    stdio: tuple[int, int, int]
    listener: int
    """Listening socket on which `start` is awaited instead of the parent's line; -1 for none."""
    keep_host_root: bool


def run_init(plan: InitPlan, line: Channel) -> NoReturn:
    """Become the container's first process; every failure goes over ``line``."""
    try:
        gc.disable()
        _leave_parent(plan, line)
        _enter_namespaces(plan, line)
        _become_container(plan, line)
    except KedgeError as error:
        line.send_failure(error)
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        line.send_failure(refusal(f"cannot set up the container{name}", error))
    except BaseException as error:  # noqa: BLE001 - nothing may reach the frames above
        line.send_failure(SystemFailureError(f"container set-up failed: {error!r}"))
    os._exit(1)


def _leave_parent(plan: InitPlan, line: Channel) -> None:
    process.reset_signals()
    prctl.set_dumpable(enabled=False)
    if plan.cgroup is not None:
        plan.cgroup.join_self()
    keep = {line.fileno(), plan.listener, *plan.stdio, *plan.namespaces.fds()}
    keep.update(range(3, 3 + plan.launch.preserve_fds))
    process.close_from(3, keep=[fd for fd in keep if fd >= 0])
    os.setsid()
    launch.raise_hard_limits(plan.launch.limits)
    launch.set_oom_score(plan.launch.oom_score_adj)


def _enter_namespaces(plan: InitPlan, line: Channel) -> None:
    plan.namespaces.join()
    flags = plan.namespaces.unshare_flags
    if flags & ns.CLONE_NEWUSER:
        ns.unshare(ns.CLONE_NEWUSER)
        line.send(channel.MAP_IDS)
        if line.receive().kind != channel.CONTINUE:
            os._exit(1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        prctl.set_dumpable(enabled=False)
        _fork_into_pid_namespace(flags, line)
        flags &= ~(ns.CLONE_NEWUSER | ns.CLONE_NEWPID)
    try:
        ns.unshare(flags)
    except OSError as error:
        raise refusal("cannot make the container's namespaces", error) from error


def _fork_into_pid_namespace(flags: int, line: Channel) -> None:
    """Go on in a child, and let this process end; the caller adopts the child as subreaper."""
    if flags & ns.CLONE_NEWPID:
        ns.unshare(ns.CLONE_NEWPID)
    pid = os.fork()  # noqa: TID251 - the runtime's own fork
    if pid:
        line.send(channel.PID, str(pid).encode())
        os._exit(0)


def _become_container(plan: InitPlan, line: Channel) -> None:
    if plan.launch.keyring:
        launch.join_keyring(plan.launch.keyring)
    if plan.hostname:
        socket.sethostname(plan.hostname)
    if plan.domainname:
        ns.set_domainname(plan.domainname)
    proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    root, master, slave = _build_root(plan, line, proc_fd)
    environment = launch.complete_environment(plan.launch)
    if slave >= 0:
        launch.connect_terminal(slave, plan.launch.console_size, plan.launch.user)
    else:
        launch.connect_stdio(plan.stdio, plan.launch.user)
    body = "\0".join(root.created).encode(errors="surrogateescape")
    line.send(channel.CREATED, body, [master] if master >= 0 else [])
    if master >= 0:
        os.close(master)
    gate = _await_start(plan, line)
    failure = launch.become(plan.launch, environment, proc_fd)
    gate.send_failure(failure)
    os._exit(1)


def _build_root(plan: InitPlan, line: Channel, proc_fd: int) -> tuple[RootPath, int, int]:
    """Return the root, and both ends of the terminal or -1 and -1."""
    rootfs.isolate_propagation(plan.root_propagation)
    root = RootPath(mount_root(plan.root_mounts, plan.root))
    cgroups = plan.cgroup.directories() if plan.cgroup is not None else {}
    rootfs.make_mounts(root, plan.mounts, cgroups)
    in_user_namespace = bool(plan.namespaces.unshare_flags & ns.CLONE_NEWUSER)
    if plan.default_dev:
        devices.make_devices(root, tuple(plan.devices), bind=in_user_namespace)
        devices.make_links(root)
    if plan.launch.cwd:
        os.close(root.ensure_directory(plan.launch.cwd))
    if plan.has_hooks:
        line.send(channel.HOOKS)
        if line.receive().kind != channel.CONTINUE:
            os._exit(1)
    master, slave = -1, -1
    if plan.launch.terminal:
        master, slave = open_terminal(root)
        if plan.default_dev:
            devices.bind_console(root, slave)
    rootfs.write_sysctls(plan.sysctls, proc_fd)
    rootfs.protect_paths(root, plan.readonly_paths)
    if plan.masked_paths:
        null = devices.open_null(root)
        rootfs.mask_paths(root, plan.masked_paths, null=null)
        os.close(null)
    if plan.root_readonly:
        rootfs.make_root_readonly(root)
    rootfs.pivot(root, keep_host_root=plan.keep_host_root)
    return root, master, slave


def open_terminal(root: RootPath) -> tuple[int, int]:
    """Return master and slave of a new terminal of the container's own devpts."""
    try:
        master = root.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, no_symlinks=True)
    except OSError as error:
        raise refusal("cannot open a terminal: /dev/pts/ptmx in the container", error) from error
    if os.fstat(master).st_rdev != os.makedev(5, 2):
        raise SystemFailureError("cannot open a terminal: /dev/pts/ptmx is no multiplexer")
    pty.unlock(master)
    return master, pty.open_slave(master)


def _await_start(plan: InitPlan, line: Channel) -> Channel:
    """Wait for "start" from the parent, or from whoever connects to the listener."""
    if plan.listener < 0:
        gate = line
    else:
        line.close()
        with socket.socket(fileno=plan.listener) as listener:
            connection, _address = listener.accept()
        gate = Channel(connection)
    if gate.receive().kind != channel.START:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    return gate
