"""The child: from the fork to `execve`, as a container's first process.

Order of operations, each step where it is because of the next:

1. signals, dumpable, the cgroup (so that a new cgroup namespace has it as root), descriptors;
2. hard limits and oom_score_adj, with the host's privileges;
3. namespaces to join, then those to make; a user namespace is joined in between, after what comes
   from the host was opened (`kedge.runtime.prepared`), and the process forks once more, because a
   pid namespace must belong to the user namespace;
4. mounts, devices, hooks, console, sysctls, protected paths, `pivot_root`;
5. "created" to the parent, then waiting for "start";
6. `kedge.runtime.launch.become`.

Nothing may escape from here: the interpreter above this frame is a copy of the caller's.
"""

from __future__ import annotations

import _socket
import gc
import os

from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import namespaces as ns
from kedge.linux import prctl, process
from kedge.oci.runtime_spec.types import Device, Hooks
from kedge.runtime import channel, devices, launch, program, rootfs, stdio
from kedge.runtime.child import run_reporting
from kedge.runtime.failures import refusal
from kedge.runtime.filesystems import attach_root, mount_root, new_filesystem
from kedge.runtime.mount_options import MountOptions
from kedge.runtime.rootpath import RootPath

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final, NoReturn

    from kedge.oci.mounts import Mount
    from kedge.runtime.cgroups.protocol import Cgroup
    from kedge.runtime.channel import Channel
    from kedge.runtime.launch import Launch
    from kedge.runtime.namespaces import HostIds, NamespacePlan
    from kedge.runtime.prepared import Prepared
    from kedge.runtime.rootfs import PlannedMount


_NO_HOOKS: Final = Hooks()


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
    hooks: Hooks
    time_offsets: str
    stdio: tuple[int, int, int]
    listener: int
    """Listening socket on which `start` is awaited instead of the parent's line; -1 for none."""
    keep_host_root: bool
    root_ids: HostIds
    """What root of the container is on the host."""
    wants_devices: bool
    """Whether interfaces of the host are to be moved here, which the parent does."""

    def close(self) -> None:
        """Close the descriptors of namespaces, in the parent."""
        self.namespaces.close()
        for mount in self.mounts:
            if mount.idmap_fd >= 0:
                os.close(mount.idmap_fd)


class Built(NamedTuple):
    """What the later steps need of the finished root."""

    mountpoints: tuple[str, ...]
    """What had to be created in the root to have something to mount on."""
    master: int
    """The terminal's master and slave; -1 without a terminal."""
    slave: int
    state: bytes
    """The container's state for hooks; empty without hooks."""


def run_init(plan: InitPlan, line: Channel) -> NoReturn:
    """Become the container's first process; every failure goes over ``line``."""

    def set_up() -> None:
        gc.disable()
        _leave_parent(plan, line)
        prepared = _enter_namespaces(plan, line)
        _become_container(plan, line, prepared)

    run_reporting(line, "set up the container", set_up)


def _leave_parent(plan: InitPlan, line: Channel) -> None:
    process.reset_signals()
    prctl.set_dumpable(enabled=False)
    if plan.cgroup is not None:
        plan.cgroup.join_self()
    keep = {line.fileno(), plan.listener, *plan.stdio, *plan.namespaces.fds()}
    keep.update(mount.idmap_fd for mount in plan.mounts)
    keep.update(range(3, 3 + plan.launch.preserve_fds))
    process.close_from(3, keep=[fd for fd in keep if fd >= 0])
    os.setsid()
    os.umask(launch.DEFAULT_UMASK)
    launch.take_host_rights(plan.launch)


def _enter_namespaces(plan: InitPlan, line: Channel) -> Prepared | None:
    plan.namespaces.join()
    flags = plan.namespaces.unshare_flags
    user_fd = plan.namespaces.user_fd
    prepared = None
    if user_fd >= 0:
        from kedge.runtime.prepared import open_host_side  # noqa: PLC0415 - loaded

        prepared = open_host_side(
            plan.root_mounts, plan.root, plan.mounts, user_fd=user_fd, ids=plan.root_ids
        )
        stdio.give_stdio(plan.stdio, *plan.root_ids)
        try:
            ns.setns(user_fd, ns.CLONE_NEWUSER)
        except OSError as error:
            raise refusal("cannot join the user namespace", error) from error
        os.close(user_fd)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        prctl.set_dumpable(enabled=False)
        if flags & ns.CLONE_NEWPID:
            ns.unshare(ns.CLONE_NEWPID)
            _fork_inside(line)
            flags &= ~ns.CLONE_NEWPID
    try:
        ns.unshare(flags)
    except OSError as error:
        raise refusal("cannot make the container's namespaces", error) from error
    if plan.time_offsets:
        _set_time_offsets(plan.time_offsets)
    if plan.wants_devices:
        _have_devices_moved(line)
    return prepared


def _have_devices_moved(line: Channel) -> None:
    network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        line.send(channel.NETWORK, b"", [network])
    finally:
        os.close(network)
    if line.receive().kind != channel.CONTINUE:
        os._exit(1)


def _set_time_offsets(lines: str) -> None:
    try:
        with open("/proc/self/timens_offsets", "w", encoding="utf-8") as file:
            file.write(lines)
    except OSError as error:
        raise refusal("cannot set the offsets of the time namespace", error) from error


def _fork_inside(line: Channel) -> None:
    """Go on in a child, and let this process end; the caller adopts the child as subreaper."""
    pid = os.fork()  # noqa: TID251 - the runtime's own fork
    if pid:
        line.send(channel.PID, str(pid).encode())
        os._exit(0)
    os.setsid()
    # Not before the process in between is gone: its death is not that of who watches over this one.
    if line.receive().kind != channel.CONTINUE:
        os._exit(1)


def _become_container(plan: InitPlan, line: Channel, prepared: Prepared | None) -> None:
    if plan.launch.keyring:
        launch.start_keyring(plan.launch.keyring)
    if plan.hostname:
        _socket.sethostname(plan.hostname)
    if plan.domainname:
        ns.set_domainname(plan.domainname)
    proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    built = _build_root(plan, line, proc_fd, prepared)
    if plan.namespaces.late_pid_fd >= 0:
        os.close(proc_fd)
        proc_fd = _join_pid_namespace(plan, line)
    environment = program.complete_environment(plan.launch.env, plan.launch.user.uid)
    _look_for_program(plan, environment)
    if built.slave >= 0:
        stdio.connect_terminal(built.slave, plan.launch.console_size, plan.launch.user)
    else:
        stdio.connect_stdio(plan.stdio, plan.launch.user)
    body = "\0".join(built.mountpoints).encode(errors="surrogateescape")
    line.send(channel.CREATED, body, [built.master] if built.master >= 0 else [])
    if built.master >= 0:
        os.close(built.master)
    if not plan.launch.apparmor_profile and proc_fd >= 0:
        os.close(proc_fd)  # the host's: not to be found in here by whoever may trace this process
    gate = _await_start(plan, line)

    def execute() -> None:
        if plan.hooks.start_container:
            from kedge.runtime.hooks import run_hooks, state_seen_inside  # noqa: PLC0415 - loaded

            state = state_seen_inside(built.state, "created")
            run_hooks("startContainer", plan.hooks.start_container, state)
        launch.become(plan.launch, environment, proc_fd, gate.send_listener)

    run_reporting(gate, "start the container", execute)


def _join_pid_namespace(plan: InitPlan, line: Channel) -> int:
    """Go on in the pid namespace of another container; return a procfs of it if one is needed."""
    from kedge.runtime import joined_pids  # noqa: PLC0415 - loaded

    joined_pids.join(plan.namespaces.late_pid_fd)
    _fork_inside(line)
    return new_filesystem("proc", "proc", MountOptions()) if plan.launch.apparmor_profile else -1


def _look_for_program(plan: InitPlan, environment: tuple[str, ...]) -> None:
    """Fail now for a missing program where `create` and `start` are two commands.

    Podman and Buildah know a missing program only as the answer to `create`. It is looked up
    again, by the container's user, when it is to run.
    """
    start = plan.launch
    if plan.listener >= 0 and start.args and launch.enter_directory(start.cwd):
        program.find_program(start.args[0], environment)


def _build_root(plan: InitPlan, line: Channel, proc_fd: int, prepared: Prepared | None) -> Built:
    """Make every mount and pivot."""
    sources = dict(prepared.sources if prepared else rootfs.open_shared_sources(plan.mounts))
    if plan.namespaces.late_pid_fd >= 0:
        from kedge.runtime import joined_pids  # noqa: PLC0415 - loaded

        sources.update(joined_pids.open_procs(plan.mounts, plan.namespaces.late_pid_fd))
    rootfs.isolate_propagation(plan.root_propagation)
    if prepared is not None and prepared.root_fd >= 0:
        attach_root(prepared.root_fd)
        root = RootPath(prepared.root_fd)
    else:
        root = RootPath(mount_root(plan.root_mounts, plan.root))
    cgroups = plan.cgroup.shown_directories() if plan.cgroup is not None else {}
    rootfs.make_mounts(root, plan.mounts, cgroups, sources)
    if plan.default_dev:
        devices.make_devices(root, tuple(plan.devices), bind=plan.namespaces.user_fd >= 0)
        devices.make_links(root)
    mountpoints = tuple(root.created)
    # As runc does it. This is the image's own directory from now on, so it is not reported.
    os.close(root.ensure_directory(plan.launch.cwd))
    state = _run_create_hooks(plan.hooks, line)
    master, slave = -1, -1
    if plan.launch.terminal:
        master, slave = stdio.open_terminal(root)
        if plan.default_dev:
            devices.bind_console(root, slave)
    rootfs.write_sysctls(plan.sysctls, proc_fd)
    rootfs.protect_paths(root, plan.readonly_paths)
    if plan.masked_paths:
        null = devices.open_null(root)
        rootfs.mask_paths(root, plan.masked_paths, null=null)
        os.close(null)
    root.unpin(*rootfs.KERNEL_FILES)
    if plan.root_readonly:
        rootfs.make_root_readonly(root)
    rootfs.pivot(root, keep_host_root=plan.keep_host_root)
    rootfs.set_root_propagation(plan.root_propagation)
    return Built(mountpoints, master, slave, state)


def _run_create_hooks(hooks: Hooks, line: Channel) -> bytes:
    """Have the parent run its hooks and run createContainer here; return the state they saw."""
    if hooks == _NO_HOOKS:
        return b""
    line.send(channel.HOOKS)
    message = line.receive()
    if message.kind != channel.CONTINUE:
        os._exit(1)
    if hooks.create_container:
        from kedge.runtime.hooks import run_hooks, state_seen_inside  # noqa: PLC0415 - loaded

        state = state_seen_inside(message.body, "creating")
        run_hooks("createContainer", hooks.create_container, state)
    return message.body


def _await_start(plan: InitPlan, line: Channel) -> Channel:
    """Wait for "start" from the parent, or from whoever connects to the listener."""
    if plan.listener < 0:
        gate = line
    else:
        line.close()
        gate = channel.accept(plan.listener)
    if gate.receive().kind != channel.START:
        os._exit(1)
    return gate
