"""Creating a container, and starting what was created: the parent's side.

`create_container` computes everything it can before the fork (`kedge.runtime.plan`), forks, and
then only answers the child. The child is this process's own, so the caller can wait for it. With
a user namespace and a new pid namespace in it the child forks once more, and this process becomes
a subreaper to adopt it.
"""

from __future__ import annotations

import os

from kedge.errdefs import (
    HookFailedError,
    SystemFailureError,
    UnavailableError,
)
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import namespaces as ns
from kedge.linux import prctl, process
from kedge.linux.signals import SIGKILL
from kedge.oci.runtime_spec.types import Process, Spec
from kedge.runtime import channel
from kedge.runtime.channel import Channel, open_channel
from kedge.runtime.child import Child, fork_child
from kedge.runtime.init import InitPlan, run_init
from kedge.runtime.namespaces import (
    children_in_pid_namespace,
    plan_namespaces,
    with_user_namespace,
)
from kedge.runtime.plan import plan_init, plan_launch

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Sequence
    from typing import Final

    from kedge.oci.mounts import Mount
    from kedge.runtime.cgroups.protocol import Cgroup
    from kedge.runtime.net_devices import DeviceMove


class Stdio(NamedTuple):
    """Descriptors for the process's standard streams; -1 is the container's /dev/null."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Options(NamedTuple):
    """How a container is created, beyond its spec."""

    inherit_network: bool = False
    """The caller is in the container's new network namespace already."""
    die_with_parent: bool = True
    """Kill the container when the caller dies; off for `kedge-runtime create`, which goes away."""
    listener: socket | None = None
    """Listening SOCK_SEQPACKET socket on which `start_created` will be called instead."""
    preserve_fds: int = 0
    """How many descriptors from 3 on the process keeps."""
    keep_host_root: bool = False
    """Use MS_MOVE instead of `pivot_root` (``--no-pivot``)."""
    new_keyring: bool = True
    """Give the container a session keyring of its own (not ``--no-new-keyring``)."""
    seccomp_cache: str = ""
    """Directory of compiled filters; empty for none."""


DEFAULT_OPTIONS: Final = Options()
_NO_PROCESS: Final = Process(cwd="/")


class Identity(NamedTuple):
    """Which container it is, as its hooks are told."""

    spec: Spec
    container_id: str
    bundle: str

    def state(self, status: str, pid: int) -> bytes:
        """Return the state document of this moment."""
        from kedge.runtime.hooks import state_document  # noqa: PLC0415 - few have hooks

        return state_document(
            self.spec,
            container_id=self.container_id,
            bundle=self.bundle,
            status=status,
            pid=pid,
        )


def run_poststart(identity: Identity, pid: int) -> None:
    """Run the poststart hooks, after which a container that was started stays so.

    Raises:
        HookFailedError: One failed; the caller ends the container.
    """
    hooks = identity.spec.hooks.poststart
    if hooks:
        from kedge.runtime.hooks import run_hooks  # noqa: PLC0415 - as above

        run_hooks("poststart", hooks, identity.state("running", pid))


def run_poststop(identity: Identity) -> list[str]:
    """Run the poststop hooks; called by whoever deletes the container, after everything else.

    Their failures come too late to matter, so they are returned, as warnings.
    """
    hooks = identity.spec.hooks.poststop
    if not hooks:
        return []
    from kedge.runtime.hooks import run_every_hook  # noqa: PLC0415 - as above

    return run_every_hook("poststop", hooks, identity.state("stopped", 0))


class Created:
    """A container that waits for `start`; its process is a child of the caller."""

    __slots__ = ("_identity", "created_mountpoints", "line", "pid", "pidfd", "pty_master")

    def __init__(
        self,
        line: Channel,
        identity: Identity,
        *,
        pid: int,
        pidfd: int,
        pty_master: int,
        mountpoints: tuple[str, ...],
    ) -> None:
        """Take over the descriptors."""
        self.line = line
        self._identity = identity
        self.pid = pid
        self.pidfd = pidfd
        self.pty_master = pty_master
        self.created_mountpoints = mountpoints

    def start(self) -> None:
        """Return when the container's program runs.

        Raises:
            NotFoundError: No such program, with Docker's text.
            ForbiddenError: It may not be executed, or a limit or privilege was refused.
            HookFailedError: A hook failed; the container has been killed.
            UnavailableError: So did its seccomp agent; likewise.
        """
        try:
            request_start(self.line, lambda fd: give_to_agent(self._identity, self.pid, fd))
        except UnavailableError:
            process.send_signal(self.pidfd, SIGKILL)
            raise
        finally:
            self.line.close()
        try:
            run_poststart(self._identity, self.pid)
        except HookFailedError:
            process.send_signal(self.pidfd, SIGKILL)
            raise

    def close(self) -> None:
        """Give up the descriptors; a container that was not started ends."""
        self.line.close()
        os.close(self.pidfd)
        if self.pty_master >= 0:
            os.close(self.pty_master)


def give_to_agent(identity: Identity, pid: int, listener: int) -> None:
    """Hand the listener of the container's filter, or of a process in it, to the seccomp agent."""
    from kedge.runtime.seccomp_agent import notify_agent  # noqa: PLC0415 - few have an agent

    notify_agent(identity.spec, identity.state("created", pid), pid, listener)


def request_start(line: Channel, give: Callable[[int], None]) -> None:
    """Tell the process at the other end of ``line`` to go on, and wait for its `execve`.

    Args:
        line: Where it waits.
        give: Takes the listener of a seccomp filter that has one.
    """
    try:
        line.send(channel.START)
    except OSError as error:
        raise SystemFailureError("the container's process died before it was started") from error
    await_program(line, give)


def await_program(line: Channel, give: Callable[[int], None]) -> None:
    """Wait until the process at the other end is another program, or raise its failure."""
    message = line.receive()
    if message.kind == channel.LISTENER:
        give(message.fds[0])
        message = line.receive()
    if message.kind:
        raise SystemFailureError(f"unexpected answer to start: {message.kind!r}")


def create_container(
    spec: Spec,
    *,
    container_id: str,
    bundle: str,
    rootfs: Sequence[Mount] = (),
    stdio: Stdio,
    cgroup: Cgroup | None,
    inherit_network: bool = False,
    options: Options = DEFAULT_OPTIONS,
) -> Created:
    """Return a container whose process has pivoted into its root and waits for `Created.start`.

    Creates ``cgroup`` with the limits of the spec, unless it is None. On failure the process is
    gone and reaped, the cgroup deleted, and nothing was mounted outside the dead namespace. Where
    a hook failed, the poststop hooks have been run after that.

    Args:
        spec: The parsed config.json; one without a process can be created and never started.
        container_id: Names the session keyring.
        bundle: Directory that relative paths of the spec are relative to.
        rootfs: Mounts to put on the spec's root path, inside the new mount namespace only.
        stdio: Standard streams; ignored where ``process.terminal`` asks for a terminal.
        cgroup: Where the container lives.
        inherit_network: The caller is in the container's new network namespace already.
        options: Less common wishes.

    Raises:
        KedgeError: Whatever went wrong, on either side of the fork.
    """
    linux = spec.linux
    namespaces = plan_namespaces(linux.namespaces, inherit_network=inherit_network)
    try:
        namespaces = with_user_namespace(
            namespaces, linux.uid_mappings, linux.gid_mappings, inherit_network=inherit_network
        )
        launch = plan_launch(
            spec.process or _NO_PROCESS,
            spec,
            keyring=container_id if options.new_keyring else "",
            die_with_parent=options.die_with_parent,
            preserve_fds=options.preserve_fds,
            seccomp_cache=options.seccomp_cache,
        )
        plan = plan_init(
            spec,
            launch,
            namespaces,
            bundle=bundle,
            root_mounts=rootfs,
            cgroup=cgroup,
            stdio=stdio,
            listener=-1 if options.listener is None else options.listener.fileno(),
            keep_host_root=options.keep_host_root,
        )
    except BaseException:
        namespaces.close()
        raise
    identity = Identity(spec, container_id, bundle)
    try:
        return _create_in(cgroup, plan, identity)
    except HookFailedError:
        run_poststop(identity)
        raise
    finally:
        plan.close()


def _create_in(cgroup: Cgroup | None, plan: InitPlan, identity: Identity) -> Created:
    if cgroup is not None:
        cgroup.create(identity.spec.linux.resources)
    try:
        return _fork_and_answer(plan, identity)
    except BaseException:
        if cgroup is not None:
            cgroup.delete()
        raise


def _fork_and_answer(plan: InitPlan, identity: Identity) -> Created:
    line, theirs = open_channel()
    late_pid_fd = plan.namespaces.late_pid_fd
    if plan.namespaces.unshare_flags & ns.CLONE_NEWPID or late_pid_fd >= 0:
        # The process that reports back is a grandchild, and must become a child to be waited for.
        prctl.set_child_subreaper()
    child = Child(-1, -1)
    moves: list[DeviceMove] = []
    try:
        pid_fd = plan.namespaces.pid_fd if late_pid_fd < 0 else -1
        with children_in_pid_namespace(new=plan.namespaces.new_pid, fd=pid_fd):
            child = fork_child(lambda: run_init(plan, theirs))
        theirs.close()
        return _answer(line, child, identity, moves)
    except BaseException:
        theirs.close()
        line.close()
        for move in moves:
            move.undo()
        child.destroy()
        raise
    finally:
        for move in moves:
            move.close()


def _answer(line: Channel, child: Child, identity: Identity, moves: list[DeviceMove]) -> Created:
    """Do for the child what it asks for, until it reports that the container is created.

    What is moved into its network is added to ``moves``.
    """
    while True:
        message = line.receive()
        if message.kind == channel.PID:
            child.replace(int(message.body))
            line.send(channel.CONTINUE)
        elif message.kind == channel.HOOKS:
            state = identity.state("creating", child.pid)
            hooks = identity.spec.hooks
            from kedge.runtime.hooks import run_hooks  # noqa: PLC0415 - as above

            run_hooks("prestart", hooks.prestart, state)
            run_hooks("createRuntime", hooks.create_runtime, state)
            line.send(channel.CONTINUE, state)
        elif message.kind == channel.NETWORK:
            from kedge.runtime.net_devices import DeviceMove  # noqa: PLC0415 - rare

            moves.append(DeviceMove(message.fds[0]))
            moves[-1].move(identity.spec.linux.net_devices)
            line.send(channel.CONTINUE)
        elif message.kind == channel.CREATED:
            text = message.body.decode(errors="surrogateescape")
            return Created(
                line,
                identity,
                pid=child.pid,
                pidfd=child.pidfd,
                pty_master=message.fds[0] if message.fds else -1,
                mountpoints=tuple(text.split("\0")) if text else (),
            )
        else:
            raise SystemFailureError("the container's process died while it was being set up")
