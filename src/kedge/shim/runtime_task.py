"""The real task: a container made by `kedge.runtime` from an OCI bundle, in a cgroup of its own."""

import json
import os
import signal
from typing import Final

from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import process
from kedge.oci import fields
from kedge.oci.runtime_spec import Spec, parse_process, parse_spec
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime.cgroups import Cgroup, CgroupStats, make_cgroup
from kedge.runtime.container import Created, Stdio, create_container
from kedge.runtime.execute import exec_process
from kedge.runtime.plan import SECCOMP_ANNOTATION, plan_launch
from kedge.runtime.seccomp import default_program
from kedge.runtime.spec_template import spec_document
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.streams import Pipes
from kedge.shim.task import ExecProcess

_REHEARSAL: Final = "rehearsal"
USUAL_CAPABILITIES: Final = ("CAP_SYS_CHROOT",)
"""What makes the seccomp filter of a container nobody gave or took capabilities; with the filter
of one that has none of them, made below too, nearly every container finds its filter ready."""


class RuntimeTask:
    """One container of `kedge.runtime`."""

    def __init__(self, request: CreateRequest, spec: Spec, cgroup: Cgroup, made: Created) -> None:
        """Take over ``made``."""
        self._request = request
        self._spec = spec
        self._cgroup = cgroup
        self._made = made
        self._namespaces = {each.type: each.path for each in spec.linux.namespaces}

    @property
    def pid(self) -> int:
        """The init's process id on the host."""
        return self._made.pid

    @property
    def terminal(self) -> int:
        """Master of the init's terminal, -1 without one."""
        return self._made.pty_master

    @property
    def created_mountpoints(self) -> tuple[str, ...]:
        """Paths that were made in the root file system because a mount needed them."""
        return self._made.created_mountpoints

    @property
    def dies_with_init(self) -> bool:
        """Whether the container made a pid namespace, which ends with its init."""
        return self._namespaces.get("pid") == ""

    def start(self) -> None:
        """Let the init become the user's program; returns when it has."""
        self._made.start()

    def exec(self, request: ExecRequest, pipes: Pipes) -> ExecProcess:
        """Start one more process inside."""
        document: JsonObject = dict(request.process)
        # The shim may have lowered its own; a process of the container must not inherit that.
        document.setdefault("oomScoreAdj", self._own_oom_score())
        document["terminal"] = request.terminal
        started = exec_process(
            self._made.pidfd,
            self._spec,
            parse_process(document),
            init_pid=self._made.pid,
            container_id=self._request.id,
            stdio=Stdio(*pipes.theirs),
            cgroup=self._cgroup,
        )
        return ExecProcess(started.pid, started.pidfd, started.pty_master)

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the init."""
        try:
            process.send_signal(self._made.pidfd, signum)
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
        return _encode_stats(self._cgroup.stats())

    def update(self, resources: JsonObject) -> None:
        """Change the limits an OCI ``linux.resources`` object mentions."""
        self._cgroup.update(parse_resources(resources))

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        return self._cgroup.oom_kills()

    def delete(self) -> None:
        """Kill what is left in the cgroup and remove it, once init is reaped."""
        if self._cgroup.pids():
            self._cgroup.kill()
        self._cgroup.delete()

    def _own_oom_score(self) -> int:
        own = self._spec.process
        return 0 if own is None or own.oom_score_adj is None else own.oom_score_adj


def make_task(request: CreateRequest, pipes: Pipes) -> RuntimeTask:
    """Make the bundle's container up to the point where its init waits for `RuntimeTask.start`.

    Raises:
        KedgeError: The bundle is not valid, or host or kernel refused; nothing is left behind.
    """
    spec = load_spec(request.bundle)
    cgroup = make_cgroup(request.cgroup_path)
    made = create_container(
        spec,
        container_id=request.id,
        bundle=request.bundle,
        rootfs=request.rootfs,
        stdio=Stdio(*pipes.theirs),
        cgroup=cgroup,
        inherit_network=request.own_netns,
    )
    return RuntimeTask(request, spec, cgroup, made)


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
    spec = parse_spec(fields.read_object(json.loads(json.dumps(spec_document())), "template"))
    make_cgroup(_REHEARSAL)
    default_program(USUAL_CAPABILITIES)
    if spec.process is not None:
        plan_launch(
            spec.process,
            spec._replace(annotations={SECCOMP_ANNOTATION: "default"}),
            container_id=_REHEARSAL,
            die_with_parent=True,
            preserve_fds=0,
        )


def _encode_stats(stats: CgroupStats) -> JsonObject:
    service_bytes: list[Json] = [entry._asdict() for entry in stats.io_service_bytes]
    serviced: list[Json] = [entry._asdict() for entry in stats.io_serviced]
    return {
        "version": stats.version,
        "cpu": stats.cpu._asdict(),
        "memory": stats.memory._asdict(),
        "pids": stats.pids._asdict(),
        "io_service_bytes": service_bytes,
        "io_serviced": serviced,
    }
