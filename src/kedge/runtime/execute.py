"""Running another process in a container that runs.

A child joins everything: the cgroup first, while the host's paths are visible, then all namespaces
by one `setns` with the pidfd. Only a child of that child is in the pid namespace, and is the
process; so nobody in the container ever sees one whose root or descriptors are still the host's,
not even with CAP_SYS_PTRACE (CVE-2016-9962). The child in between ends, and the caller, a
subreaper meanwhile, adopts the process. What most execs are, `kedge.runtime.quick_exec` does
without a copy of this process; what it cannot or may not do, and whatever fails there, is done
here.
"""

from __future__ import annotations

import errno
import gc
import os
import select

from kedge.errdefs import ConflictError, KedgeError, SystemFailureError
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import namespaces as ns
from kedge.linux import prctl, process
from kedge.oci.runtime_spec.types import CpuAffinity, Process, Spec
from kedge.runtime import channel, launch, program, quick_exec, stdio
from kedge.runtime.channel import Channel, open_channel
from kedge.runtime.child import Child, fork_child, run_reporting
from kedge.runtime.container import Identity, Stdio, await_program, give_to_agent
from kedge.runtime.filesystems import new_filesystem
from kedge.runtime.mount_options import MountOptions
from kedge.runtime.namespaces import FLAGS, HostIds, children_in_pid_namespace, host_ids
from kedge.runtime.plan import plan_launch
from kedge.runtime.rootpath import RootPath
from kedge.runtime.scheduling import apply_cpus, parse_cpus

if TYPE_CHECKING:
    from typing import Final, NoReturn

    from kedge.runtime.cgroups.protocol import Cgroup
    from kedge.runtime.launch import Launch


# Joining a namespace one is in already changes nothing, except that a user namespace refuses.
_ALWAYS: Final = (
    ns.CLONE_NEWNS | ns.CLONE_NEWIPC | ns.CLONE_NEWUTS | ns.CLONE_NEWNET | ns.CLONE_NEWCGROUP
)


class ExecStarted(NamedTuple):
    """A process that runs in the container and is a child of the caller."""

    pid: int
    pidfd: int
    pty_master: int
    """-1 without a terminal."""


class _ExecPlan(NamedTuple):
    launch: Launch
    flags: int
    init_pid: int
    init_pidfd: int
    cgroup: Cgroup | None
    stdio: tuple[int, int, int]
    first_cpus: frozenset[int]
    """Where to run until the cgroup is joined, and from then on; empty for no change."""
    cpus: frozenset[int]
    root_ids: HostIds


def exec_process(
    init_pidfd: int,
    spec: Spec,
    process_: Process,
    *,
    init_pid: int,
    container_id: str,
    bundle: str = "",
    stdio: Stdio,
    cgroup: Cgroup | None,
    die_with_parent: bool = True,
    preserve_fds: int = 0,
    new_keyring: bool = True,
    alone: bool = False,
) -> ExecStarted:
    """Return when the program of ``process_`` runs in the container.

    Args:
        init_pidfd: pidfd of the container's first process.
        spec: The container's spec.
        process_: What to run; it gets the container's seccomp filter.
        init_pid: The same process by number, for kernels where a pidfd names no namespaces.
        container_id: Names the session keyring to join.
        bundle: Told to the seccomp agent, if there is one.
        stdio: Standard streams; ignored where a terminal is asked for.
        cgroup: The container's.
        die_with_parent: Kill the process when the caller dies.
        preserve_fds: How many descriptors from 3 on it keeps.
        new_keyring: Whether the container has a session keyring of its own.
        alone: No other container is in its pid namespace, which makes the quick way safe.

    Raises:
        NotFoundError: No such program, with Docker's text.
        ForbiddenError: It may not be executed.
        ConflictError: The container does not run any more.
    """
    flags = _ALWAYS
    for namespace in spec.linux.namespaces:
        flags |= FLAGS[namespace.type]
    affinity = process_.exec_cpu_affinity or CpuAffinity()
    plan = _ExecPlan(
        launch=plan_launch(
            process_,
            spec,
            keyring=container_id if new_keyring else "",
            die_with_parent=die_with_parent,
            preserve_fds=preserve_fds,
        ),
        flags=flags,
        init_pid=init_pid,
        init_pidfd=init_pidfd,
        cgroup=cgroup,
        stdio=stdio,
        first_cpus=parse_cpus(affinity.initial),
        cpus=parse_cpus(affinity.final),
        root_ids=host_ids(spec.linux.uid_mappings, spec.linux.gid_mappings),
    )
    quick = _try_quick(plan, spec) if alone else None
    if quick is not None:
        return quick
    line, theirs = open_channel()
    child = Child(-1, -1)
    try:
        with prctl.adopting_orphans():
            child = fork_child(lambda: _run_exec(plan, theirs))
            theirs.close()
            identity = Identity(spec, container_id, bundle)
            master = _wait_for_exec(line, plan, identity, child)
    except BaseException:
        theirs.close()
        child.destroy()
        raise
    finally:
        line.close()
    return ExecStarted(child.pid, child.pidfd, master)


def _try_quick(plan: _ExecPlan, spec: Spec) -> ExecStarted | None:
    if plan.first_cpus or plan.cpus or not quick_exec.is_usual(plan.launch, spec):
        return None
    files = () if plan.cgroup is None else plan.cgroup.join_files()
    joining = quick_exec.Joining(plan.init_pidfd, plan.flags & ~ns.CLONE_NEWPID, files)
    # A container that has ended fails in the ordinary way as well, which says so.
    with suppress(OSError), children_in_pid_namespace(fd=plan.init_pidfd):
        started = quick_exec.try_start(plan.launch, joining, plan.stdio)
        return None if started is None else ExecStarted(started.pid, started.pidfd, -1)
    return None


def _wait_for_exec(line: Channel, plan: _ExecPlan, identity: Identity, child: Child) -> int:
    try:
        message = line.receive()
        if message.kind == channel.PID:
            child.replace(int(message.body))
            line.send(channel.CONTINUE)
            message = line.receive()
    except (KedgeError, OSError) as error:
        if _has_ended(plan.init_pidfd):
            raise ConflictError(f"container {identity.container_id} is not running") from error
        raise
    if message.kind != channel.CREATED:
        if _has_ended(plan.init_pidfd):
            raise ConflictError(f"container {identity.container_id} is not running")
        raise SystemFailureError("the process died before it joined the container")
    master = message.fds[0] if message.fds else -1
    try:
        await_program(line, lambda fd: give_to_agent(identity, child.pid, fd))
    except BaseException:
        if master >= 0:
            os.close(master)
        raise
    return master


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _run_exec(plan: _ExecPlan, line: Channel) -> NoReturn:
    gc.disable()
    run_reporting(line, "join the container", lambda: _become_exec(plan, line))


def _become_exec(plan: _ExecPlan, line: Channel) -> None:
    process.reset_signals()
    prctl.set_dumpable(enabled=False)
    apply_cpus(plan.first_cpus)
    if plan.cgroup is not None:
        plan.cgroup.join_self(beside=plan.init_pid)
    apply_cpus(plan.cpus)
    keep = {line.fileno(), plan.init_pidfd, *plan.stdio}
    keep.update(range(3, 3 + plan.launch.preserve_fds))
    process.close_from(3, keep=[fd for fd in keep if fd >= 0])
    os.setsid()
    launch.take_host_rights(plan.launch)
    proc_fd = -1
    if plan.flags & ns.CLONE_NEWUSER:
        # Nobody in there may look at a process that was made undumpable out here.
        proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stdio.give_stdio(plan.stdio, *plan.root_ids)
    _join(plan)
    if plan.flags & ns.CLONE_NEWUSER:
        # Who came from the host is nobody in here yet, and nobody cannot own a terminal.
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    prctl.set_dumpable(enabled=False)
    if plan.flags & ns.CLONE_NEWPID:
        _fork_inside(line)
    if plan.launch.apparmor_profile and proc_fd < 0:
        proc_fd = new_filesystem("proc", "proc", MountOptions())
    if plan.launch.keyring:
        launch.join_keyring(plan.launch.keyring)
    environment = program.complete_environment(plan.launch.env, plan.launch.user.uid)
    master = -1
    if plan.launch.terminal:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        master, slave = stdio.open_terminal(RootPath(root))
        stdio.connect_terminal(slave, plan.launch.console_size, plan.launch.user)
    else:
        stdio.connect_stdio(plan.stdio, plan.launch.user)
    line.send(channel.CREATED, b"", [master] if master >= 0 else [])
    launch.become(plan.launch, environment, proc_fd, line.send_listener)


def _fork_inside(line: Channel) -> None:
    """Go on in a child, born in the pid namespace, and end; the caller adopts the child."""
    pid = os.fork()  # noqa: TID251 - the runtime's own fork
    if pid:
        line.send(channel.PID, str(pid).encode())
        os._exit(0)
    os.setsid()
    # Not before the process in between is gone: its death is not that of who watches over this one.
    if line.receive().kind != channel.CONTINUE:
        os._exit(1)


def _join(plan: _ExecPlan) -> None:
    try:
        ns.setns(plan.init_pidfd, plan.flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _join_one_by_one(plan)
    os.close(plan.init_pidfd)


def _join_one_by_one(plan: _ExecPlan) -> None:
    """Join through /proc, as kernels before 5.8 need it."""
    fds: list[tuple[int, int]] = []
    names = {"network": "net", "mount": "mnt"}
    for kind, flag in FLAGS.items():
        if plan.flags & flag:
            path = f"/proc/{plan.init_pid}/ns/{names.get(kind, kind)}"
            fds.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag))
    for fd, flag in fds:
        ns.setns(fd, flag)
        os.close(fd)
