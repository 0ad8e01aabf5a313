"""The real task: a container made by `kedge.runtime` from an OCI bundle, in a cgroup of its own."""

import json
import os
import signal
from collections.abc import Mapping
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
from kedge.shim.holder import HolderLine
from kedge.shim.luggage import Luggage
from kedge.shim.maker import Made, Maker
from kedge.shim.messages import CreateRequest, ExecRequest, flag, integer
from kedge.shim.streams import Pipes
from kedge.shim.task import ExecProcess, MakeTask, Task

_REHEARSAL: Final = "rehearsal"
USUAL_CAPABILITIES: Final = ("CAP_SYS_CHROOT",)
"""What makes the seccomp filter of a container nobody gave or took capabilities; with the filter
of one that has none of them, made below too, nearly every container finds its filter ready."""


class RuntimeTask:
    """One container of `kedge.runtime`."""

    def __init__(
        self,
        request: CreateRequest,
        made: Made,
        holder: HolderLine,
        *,
        maker: Maker | None,
        pidfd: int = -1,
    ) -> None:
        """Take over ``made``, whose init is a child of the holder once ``maker`` is gone.

        Args:
            request: What it was made of.
            made: The container; its line is -1 where it has started.
            holder: Reaps the init.
            maker: Who made it, where that may still be there.
            pidfd: The init's, where there is one already.
        """
        self._maker = maker
        self._request = request
        self._made = made
        self._holder = holder
        self._line = None if made.line < 0 else Channel(socket(fileno=made.line))
        self._pidfd = os.pidfd_open(made.pid) if pidfd < 0 else pidfd
        self._alarm: OomAlarm | None = None
        self._cgroup = make_cgroup(request.cgroup_path)
        self._spec: Spec | None = None

    @property
    def pid(self) -> int:
        """The init's process id on the host."""
        return self._made.pid

    @property
    def death_fd(self) -> int:
        """A descriptor that is readable once the init is dead."""
        return self._pidfd

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
        self._wait_for_maker()
        if self._line is None:
            raise ConflictError(f"container {self._request.id} has started already")
        try:
            request_start(self._line, self._give_to_agent)
        except UnavailableError:
            self.signal(signal.SIGKILL)
            raise
        finally:
            self._line.close()
            self._line = None
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

    def reap(self) -> int:
        """Wait until the init is dead, and return its wait status; only once."""
        return self._holder.reap_init()

    def try_pack(self, luggage: Luggage) -> JsonObject | None:
        """Return what another process makes an equal task of, once the program runs."""
        if self._line is not None:
            return None
        luggage.wait_for("init", self._pidfd)
        luggage.keep("terminal", self._made.terminal)
        alarm = self._alarm
        if alarm is not None:
            luggage.wait_for("alarm", alarm.fd)
        mountpoints: list[Json] = [*self._made.mountpoints]
        return {
            "pid": self._made.pid,
            "mountpoints": mountpoints,
            "dies_with_init": self._made.dies_with_init,
            "has_poststart": self._made.has_poststart,
            "oom_kills": 0 if alarm is None else alarm.kills,
        }

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the init."""
        self._wait_for_maker()
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
        """Watch the cgroup's memory from now on, or go on with that."""
        if self._alarm is None:
            self._alarm = OomAlarm(self._cgroup.directories())
        return self._alarm

    def resume_oom_alarm(self, fd: int, kills: int) -> None:
        """Have the alarm another process opened."""
        self._alarm = OomAlarm(self._cgroup.directories(), fd=fd, kills=kills)

    def _wait_for_maker(self) -> None:
        maker, self._maker = self._maker, None
        if maker is not None:
            maker.wait()

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


def prepare(holder: HolderLine, *, ahead: bool) -> MakeTask:
    """Return what makes one container of `kedge.runtime`.

    Args:
        holder: Whose child the init will be.
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
        made = maker.make(request, pipes.theirs)
        holder.say_init(made.pid, orphans=not made.dies_with_init)
        return RuntimeTask(request, made, holder, maker=maker)

    return make_task


def resume(
    request: CreateRequest, packed: JsonObject, fds: Mapping[str, int], holder: HolderLine
) -> Task:
    """Return the task that `RuntimeTask.try_pack` packed in another process."""
    made = Made(
        pid=integer(packed, "pid"),
        line=-1,
        terminal=fds.get("terminal", -1),
        mountpoints=fields.read_list(packed, "mountpoints", "rest", fields.read_string_item),
        dies_with_init=flag(packed, "dies_with_init"),
        has_poststart=flag(packed, "has_poststart"),
    )
    task = RuntimeTask(request, made, holder, maker=None, pidfd=fds["init"])
    if "alarm" in fds:
        task.resume_oom_alarm(fds["alarm"], integer(packed, "oom_kills"))
    return task


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
        *(
            f"kedge.runtime.{name}"
            for name in ("hooks", "joined_pids", "net_devices", "prepared", "scheduling")
        ),
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
