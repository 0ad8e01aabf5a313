"""The operations of the OCI lifecycle on a state directory; what `kedge-runtime` does.

Each command is a process of its own, so `create` leaves the container's first process waiting on
a socket in the state directory and ends; `start` connects to it.
"""

from __future__ import annotations

import os
import time

from kedge.errdefs import (
    ConflictError,
    HookFailedError,
    InvalidParameterError,
    NotFoundError,
    UnavailableError,
)
from kedge.lib.atomicfile import write_atomic
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import process
from kedge.linux.signals import SIGKILL
from kedge.oci.fields import read_object
from kedge.oci.runtime_spec import Spec, parse_spec
from kedge.runtime.cgroups.detect import make_cgroup
from kedge.runtime.channel import Channel
from kedge.runtime.container import (
    Created,
    Identity,
    Options,
    Stdio,
    create_container,
    give_to_agent,
    request_start,
    run_poststart,
    run_poststop,
)
from kedge.runtime.launch import ungranted
from kedge.runtime.seccomp.kept import usual_directory
from kedge.runtime.state import (
    Container,
    Record,
    StateDirectory,
    check_id,
    load_json,
    start_time_of,
)

if TYPE_CHECKING:
    from typing import Final

    from kedge.runtime.journal import Invocation


_STDIO: Final = Stdio(0, 1, 2)
_DEATH_WITHIN_S: Final = 10.0
# slice:prefix:name
_SYSTEMD_COLONS: Final = 2
_POLL_S: Final = 0.01


class CreateOptions(NamedTuple):
    """The options of `create` and `run`."""

    bundle: str
    console_socket: str = ""
    pid_file: str = ""
    keep_host_root: bool = False
    preserve_fds: int = 0
    new_keyring: bool = True
    keeps_terminal: bool = False
    """The caller relays the terminal itself, so no console socket is needed."""


def create(
    call: Invocation, container_id: str, options: CreateOptions
) -> tuple[Created, Container]:
    """Create a container and record it; on failure nothing is left.

    Capabilities that this host does not have are done without, with a warning.

    Raises:
        ConflictError: The id is taken.
        KedgeError: The bundle is not valid, or the host refused something.
    """
    bundle = os.path.abspath(options.bundle or ".")
    document = read_object(load_json(os.path.join(bundle, "config.json")), "config.json")
    spec = parse_spec(document)
    _check_console(spec, options)
    path = _cgroup_path(spec, container_id)
    directory = StateDirectory(call.root, check_id(container_id))
    _warn_of_capabilities(call, spec)
    directory.create()
    try:
        created = _create_in(directory, spec, bundle, path, options)
        try:
            record = _record(directory, created, bundle, path, options)
        except BaseException:
            process.send_signal(created.pidfd, SIGKILL)
            os.waitpid(created.pid, 0)
            created.close()
            make_cgroup(path).delete()
            raise
    except BaseException:
        directory.remove()
        raise
    call.journal.debug(f"created container {container_id}: process {created.pid}, cgroup {path}")
    return created, Container(directory, record, spec)


def _create_in(
    directory: StateDirectory, spec: Spec, bundle: str, path: str, options: CreateOptions
) -> Created:
    listener = directory.listen()
    try:
        return create_container(
            spec,
            container_id=directory.container_id,
            bundle=bundle,
            stdio=_STDIO,
            cgroup=make_cgroup(path),
            options=Options(
                die_with_parent=False,
                listener=listener,
                preserve_fds=options.preserve_fds,
                keep_host_root=options.keep_host_root,
                new_keyring=options.new_keyring,
                seccomp_cache=usual_directory(),
            ),
        )
    finally:
        listener.close()


def _warn_of_capabilities(call: Invocation, spec: Spec) -> None:
    user = any(namespace.type == "user" for namespace in spec.linux.namespaces)
    missing = ungranted(spec.process, in_user_namespace=user) if spec.process is not None else ()
    if missing:
        call.journal.warning(f"this host cannot grant {', '.join(missing)}: done without")


def _cgroup_path(spec: Spec, container_id: str) -> str:
    path = spec.linux.cgroups_path or f"kedge-runtime-{container_id}"
    if path.count(":") == _SYSTEMD_COLONS:
        raise InvalidParameterError(
            f"linux.cgroupsPath {path} is for systemd's manager, which kedge-runtime does not use:"
            " have the caller use cgroupfs, or give a path"
        )
    return path


def _check_console(spec: Spec, options: CreateOptions) -> None:
    terminal = spec.process is not None and spec.process.terminal
    if terminal and not options.console_socket and not options.keeps_terminal:
        raise InvalidParameterError(
            "process.terminal is set: --console-socket must say who gets the terminal"
        )
    if options.console_socket and not terminal:
        raise InvalidParameterError("--console-socket is given, but process.terminal is not set")


def _record(
    directory: StateDirectory, created: Created, bundle: str, path: str, options: CreateOptions
) -> Record:
    if options.console_socket:
        from kedge.runtime.console import send_console  # noqa: PLC0415 - most have no terminal

        send_console(options.console_socket, created.pty_master)
    with open(os.path.join(bundle, "config.json"), "rb") as file:
        config = file.read()
    record = Record(
        pid=created.pid,
        start_time=start_time_of(created.pid),
        bundle=bundle,
        cgroup_path=path,
        created_ns=SYSTEM_CLOCK.time_ns(),
        new_keyring=options.new_keyring,
    )
    directory.save(record, config)
    if options.pid_file:
        write_atomic(options.pid_file, str(created.pid).encode(), durable=False)
    return record


def start(call: Invocation, container: Container) -> None:
    """Start a created container; return when its program runs.

    Raises:
        HookFailedError: A hook failed; the container has been killed and deleted.
        UnavailableError: The seccomp agent is not there; likewise.
        ConflictError: It is not in the state created.
        InvalidParameterError: It has no process to run.
        NotFoundError: No such program.
        ForbiddenError: The program may not be executed.
    """
    if container.status() != "created":
        raise ConflictError(
            f"cannot start container {container.container_id}: it is {container.status()}"
        )
    if container.spec.process is None:
        raise InvalidParameterError(
            f"cannot start container {container.container_id}: config.json has no process"
        )
    identity = _identity(container)
    line = Channel(container.directory.connect())
    try:
        try:
            request_start(line, lambda fd: give_to_agent(identity, container.record.pid, fd))
        finally:
            line.close()
            container.directory.forget_start()
        run_poststart(identity, container.record.pid)
    except (HookFailedError, UnavailableError):
        delete(call, container, force=True)
        raise
    call.journal.debug(f"started container {container.container_id}")


def kill(container: Container, signum: int, *, everything: bool) -> None:
    """Send a signal to the first process, or to every process of the container.

    Raises:
        ConflictError: The container does not run.
    """
    cgroup = container.cgroup()
    if everything and cgroup is not None:
        if signum == SIGKILL:
            cgroup.kill()
            return
        for pid in cgroup.pids():
            _send(pid, signum)
        return
    if not container.is_alive():
        raise ConflictError(f"container {container.container_id} is not running")
    if not _send(container.record.pid, signum):
        raise ConflictError(f"container {container.container_id} is not running")


def _send(pid: int, signum: int) -> bool:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def delete(call: Invocation, container: Container, *, force: bool) -> None:
    """Remove a stopped or never started container and all that belongs to it.

    Args:
        call: Who wants it, and is warned of poststop hooks that fail.
        container: Which.
        force: Kill it first if it runs.

    Raises:
        ConflictError: It runs, and ``force`` is off.
    """
    status = container.status()
    cgroup = container.cgroup()
    if status not in ("stopped", "created") and not force:
        raise ConflictError(
            f"cannot delete container {container.container_id}: it is {status} (kill it first, "
            f"or use --force)"
        )
    if status != "stopped":
        _send(container.record.pid, SIGKILL)
        if cgroup is not None and cgroup.exists():
            cgroup.kill()
        _await_death(container)
    if cgroup is not None and cgroup.exists():
        # Without a pid namespace of its own, others may have outlived the first process.
        cgroup.kill()
        cgroup.delete()
    container.directory.remove()
    for failure in run_poststop(_identity(container)):
        call.journal.warning(failure)
    call.journal.debug(f"deleted container {container.container_id}")


def _await_death(container: Container) -> None:
    deadline = time.monotonic() + _DEATH_WITHIN_S
    while container.is_alive():
        if time.monotonic() > deadline:
            raise ConflictError(f"container {container.container_id} does not die")
        time.sleep(_POLL_S)


def discard(root: str, container_id: str) -> None:
    """Remove what a `create` that was killed left under this name."""
    directory = StateDirectory(root, container_id)
    if not os.path.isdir(directory.path):
        raise NotFoundError(f"container {container_id} does not exist")
    directory.remove()


def _identity(container: Container) -> Identity:
    return Identity(container.spec, container.container_id, container.record.bundle)
