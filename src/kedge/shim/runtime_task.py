"""The real task: a container made by `kedge.runtime` from an OCI bundle, in a cgroup of its own."""

import json
import os
import signal
from contextlib import suppress
from socket import socket
from typing import Final

from kedge.errdefs import ConflictError, HookFailedError, NotFoundError, UnavailableError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import process
from kedge.oci import fields
from kedge.oci.runtime_spec import Spec, parse_process, parse_spec
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime.cgroups import make_cgroup
from kedge.runtime.cgroups.oom_alarm import OomAlarm
from kedge.runtime.channel import Channel
from kedge.runtime.child import load_for_children
from kedge.runtime.container import (
    Identity,
    Stdio,
    create_container,
    give_to_agent,
    request_start,
    run_poststart,
)
from kedge.runtime.execute import exec_process
from kedge.runtime.plan import SECCOMP_ANNOTATION, plan_launch
from kedge.runtime.seccomp.cached import default_program
from kedge.runtime.spec_template import spec_document
from kedge.shim.cgroup_stats import encode_stats
from kedge.shim.maker import Made, Maker
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.streams import Pipes
from kedge.shim.task import ExecProcess, MakeTask, Task

_REHEARSAL: Final = "rehearsal"
USUAL_CAPABILITIES: Final = ("CAP_SYS_CHROOT",)
"""What makes the seccomp filter of a container nobody gave or took capabilities; with the filter
of one that has none of them, made below too, nearly every container finds its filter ready."""


class RuntimeTask:
    """One container of `kedge.runtime`."""

    def __init__(self, request: CreateRequest, made: Made, maker: Maker) -> None:
        """Take over ``made``, whose init is a child of this process once ``maker`` is gone."""
        self._maker = maker
        self._request = request
        self._made = made
        self._line = Channel(socket(fileno=made.line))
        self._pidfd = os.pidfd_open(made.pid)
        self._cgroup = make_cgroup(request.cgroup_path)
        self._spec: Spec | None = None

    @property
    def pid(self) -> int:
        """The init's process id on the host."""
        return self._made.pid

    @property
    def terminal(self) -> int:
        """Master of the init's terminal, -1 without one."""
        return self._made.terminal

    @property
    def created_mountpoints(self) -> tuple[str, ...]:
        """Paths that were made in the root file system because a mount needed them."""
        return self._made.mountpoints

    @property
    def dies_with_init(self) -> bool:
        """Whether the container made a pid namespace, which ends with its init."""
        return self._made.dies_with_init

    def start(self) -> None:
        """Let the init become the user's program; returns when it has."""
        self._maker.wait()
        try:
            request_start(self._line, self._give_to_agent)
        except UnavailableError:
            self.signal(signal.SIGKILL)
            raise
        finally:
            self._line.close()
        if self._made.has_poststart:
            request = self._request
            try:
                run_poststart(Identity(self._load(), request.id, request.bundle), self.pid)
            except HookFailedError:
                self.signal(signal.SIGKILL)
                raise

    def _give_to_agent(self, listener: int) -> None:
        identity = Identity(self._load(), self._request.id, self._request.bundle)
        give_to_agent(identity, self.pid, listener)

    def exec(self, request: ExecRequest, pipes: Pipes) -> ExecProcess:
        """Start one more process inside."""
        document: JsonObject = dict(request.process)
        # The shim may have lowered its own; a process of the container must not inherit that.
        spec = self._load()
        document.setdefault("oomScoreAdj", _own_oom_score(spec))
        document["terminal"] = request.terminal
        # Found once here, not by each child for itself.
        self._cgroup.directories()
        started = exec_process(
            self._pidfd,
            spec,
            parse_process(document),
            init_pid=self._made.pid,
            container_id=self._request.id,
            bundle=self._request.bundle,
            stdio=Stdio(*pipes.theirs),
            cgroup=self._cgroup,
            alone=request.alone,
        )
        return ExecProcess(started.pid, started.pidfd, started.pty_master)

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the init."""
        self._maker.wait()
        try:
            process.send_signal(self._pidfd, signum)
        except ProcessLookupError as error:
            raise ConflictError(f"container {self._request.id} is not running") from error

    def signal_all(self, signum: int) -> None:
        """Send ``signum`` to every process of the container."""
        if signum == signal.SIGKILL:
            self._cgroup.kill()
            return
        for pid in self._cgroup.pids():
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                continue

    def freeze(self) -> None:
        """Stop every process."""
        self._cgroup.freeze()

    def thaw(self) -> None:
        """Let every process run again."""
        self._cgroup.thaw()

    def pids(self) -> list[int]:
        """Return the host's ids of all processes."""
        return self._cgroup.pids()

    def stats(self) -> JsonObject:
        """Return the cgroup's counters, named as `kedge.runtime.cgroups.CgroupStats` names them."""
        return encode_stats(self._cgroup.stats())

    def update(self, resources: JsonObject) -> None:
        """Change the limits an OCI ``linux.resources`` object mentions."""
        self._cgroup.update(parse_resources(resources))

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        return self._cgroup.oom_kills()

    def open_oom_alarm(self) -> OomAlarm:
        """Watch the cgroup's memory from now on."""
        return OomAlarm(self._cgroup.directories())

    def delete(self) -> None:
        """Kill what is left in the cgroup and remove it, once init is reaped."""
        if self._cgroup.pids():
            self._cgroup.kill()
        self._cgroup.delete()

    def _load(self) -> Spec:
        """Return the container's spec, read when it is first needed: an idle shim has none."""
        if self._spec is None:
            self._spec = load_spec(self._request.bundle)
        return self._spec


def prepare(*, ahead: bool) -> MakeTask:
    """Return what makes one container of `kedge.runtime`.

    Args:
        ahead: There is time to get ready; otherwise nothing is done before it is called.
    """
    ready = None
    if ahead:
        # Without a process to be had now, there may be one when it is needed.
        with suppress(OSError):
            ready = Maker(_create, rehearse)

    def make_task(request: CreateRequest, pipes: Pipes) -> Task:
        if request.runtime:
            if ready is not None:
                ready.discard()
            # Nobody else need have it in memory.
            from kedge.shim.foreign_task import ForeignTask  # noqa: PLC0415

            return ForeignTask(request, pipes)
        # Getting ready may have failed on a host that was short of something then.
        maker = ready if ready is not None and ready.is_alive() else Maker(_create, _nothing)
        return RuntimeTask(request, maker.make(request, pipes.theirs), maker)

    return make_task


def _create(request: CreateRequest, streams: tuple[int, int, int]) -> Made:
    """Make the bundle's container up to the point where its init waits for `RuntimeTask.start`.

    Raises:
        KedgeError: The bundle is not valid, or host or kernel refused; nothing is left behind.
    """
    spec = load_spec(request.bundle)
    created = create_container(
        spec,
        container_id=request.id,
        bundle=request.bundle,
        rootfs=request.rootfs,
        stdio=Stdio(*streams),
        cgroup=make_cgroup(request.cgroup_path),
        inherit_network=request.own_netns,
    )
    return Made(
        pid=created.pid,
        line=created.line.detach(),
        terminal=created.pty_master,
        mountpoints=created.created_mountpoints,
        dies_with_init=any(each.type == "pid" and not each.path for each in spec.linux.namespaces),
        has_poststart=bool(spec.hooks.poststart),
    )


def load_spec(bundle: str) -> Spec:
    """Return the bundle's parsed ``config.json``.

    Raises:
        NotFoundError: There is none.
        InvalidParameterError: It is no valid runtime specification.
    """
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            document: Json = json.loads(file.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"bundle {bundle} has no config.json") from error
    return parse_spec(fields.read_object(document, "config.json"))


def rehearse() -> None:
    """Go through the motions of making a container, without making one.

    The first steps of a forked interpreter are slow, because every page it touches is copied from
    its parent. This has them done before there is anybody to wait for them.
    """
    # What `kedge-runtime` loads when it is needed is shared by all shims.
    load_for_children(
        *(f"kedge.runtime.{name}" for name in ("hooks", "net_devices", "prepared", "scheduling")),
        *("kedge.runtime.seccomp_agent", "kedge.runtime.cgroups.v1_stats"),
    )
    spec = parse_spec(fields.read_object(json.loads(json.dumps(spec_document())), "template"))
    make_cgroup(_REHEARSAL)
    default_program(USUAL_CAPABILITIES)
    if spec.process is not None:
        plan_launch(
            spec.process,
            spec._replace(annotations={SECCOMP_ANNOTATION: "default"}),
            keyring=_REHEARSAL,
            die_with_parent=True,
            preserve_fds=0,
        )


def _own_oom_score(spec: Spec) -> int:
    own = spec.process
    return 0 if own is None or own.oom_score_adj is None else own.oom_score_adj


def _nothing() -> None:
    pass
