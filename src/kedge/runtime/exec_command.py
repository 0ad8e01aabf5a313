"""`kedge-runtime exec`: which process to run, put together from options or a file."""

from __future__ import annotations

import os

from kedge.errdefs import ConflictError, InvalidParameterError
from kedge.lib.atomicfile import write_atomic
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.fields import read_object
from kedge.oci.runtime_spec import Capabilities, Process, parse_process
from kedge.runtime.console import relay, send_console
from kedge.runtime.container import Stdio
from kedge.runtime.execute import ExecStarted, exec_process
from kedge.runtime.options import LIST, SWITCH, VALUE, Command, Parsed, alias
from kedge.runtime.state import Container, StateDirectory, load_json
from kedge.runtime.waiting import Foreground

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec.types import User
    from kedge.runtime.journal import Invocation


_FLAGS: Final = {
    "process": VALUE,
    "p": alias("process"),
    "console-socket": VALUE,
    "pid-file": VALUE,
    "detach": SWITCH,
    "d": alias("detach"),
    "tty": SWITCH,
    "t": alias("tty"),
    "cwd": VALUE,
    "env": LIST,
    "e": alias("env"),
    "user": VALUE,
    "u": alias("user"),
    "additional-gids": LIST,
    "g": alias("additional-gids"),
    "cap": LIST,
    "c": alias("cap"),
    "no-new-privs": SWITCH,
    "apparmor": VALUE,
    "process-label": VALUE,
    "preserve-fds": VALUE,
    "ignore-paused": SWITCH,
}


def run_exec(call: Invocation, options: Parsed) -> int:
    """Run a process in a running container; return its exit code, or 0 with ``--detach``."""
    if not options.arguments:
        raise InvalidParameterError("exec needs a container id")
    container_id, *args = options.arguments
    container = StateDirectory(call.root, container_id).load()
    status = container.status()
    if status == "paused" and options.switch("ignore-paused"):
        status = "running"
    if status not in ("running", "created"):
        raise ConflictError(f"cannot exec in container {container_id}: it is {status}")
    process = _process(container, args, options)
    detach = options.switch("detach")
    if process.terminal and detach and not options.value("console-socket"):
        raise InvalidParameterError("--console-socket must say who gets the detached terminal")
    started = _start(container, process, options)
    if options.value("pid-file"):
        write_atomic(options.value("pid-file"), str(started.pid).encode(), durable=False)
    if started.pty_master >= 0 and options.value("console-socket"):
        send_console(options.value("console-socket"), started.pty_master)
    if detach:
        return 0
    foreground = Foreground(started.pid, started.pidfd)
    if started.pty_master >= 0 and not options.value("console-socket"):
        relay(started.pty_master, foreground)
    return foreground.wait()


def _start(container: Container, process: Process, options: Parsed) -> ExecStarted:
    pidfd = os.pidfd_open(container.record.pid)
    if not container.is_alive():
        raise ConflictError(f"container {container.container_id} is not running")
    try:
        return exec_process(
            pidfd,
            container.spec,
            process,
            init_pid=container.record.pid,
            container_id=container.container_id,
            bundle=container.record.bundle,
            stdio=Stdio(0, 1, 2),
            cgroup=container.cgroup(),
            die_with_parent=False,
            preserve_fds=options.number("preserve-fds"),
            new_keyring=container.record.new_keyring,
        )
    finally:
        os.close(pidfd)


def _process(container: Container, args: list[str], options: Parsed) -> Process:
    if options.value("process"):
        document = load_json(options.value("process"))
        return parse_process(read_object(document, "process"))
    base = container.spec.process
    if base is None or not args:
        raise InvalidParameterError("exec needs a command, or a process file (--process)")
    process = base._replace(
        args=tuple(args),
        env=(*base.env, *options.values("env")),
        terminal=options.switch("tty"),
        cwd=options.value("cwd") or base.cwd,
        user=_user(base.user, options),
        no_new_privileges=base.no_new_privileges or options.switch("no-new-privs"),
        apparmor_profile=options.value("apparmor") or base.apparmor_profile,
        selinux_label=options.value("process-label") or base.selinux_label,
    )
    extra = tuple(options.values("cap"))
    if not extra:
        return process
    held = process.capabilities or Capabilities()
    return process._replace(
        capabilities=held._replace(
            bounding=held.bounding + extra,
            effective=held.effective + extra,
            permitted=held.permitted + extra,
        )
    )


def _user(base: User, options: Parsed) -> User:
    text = options.value("user")
    uid, gid = base.uid, base.gid
    groups = options.values("additional-gids")
    first, colon, second = text.partition(":")
    numbers = [number for number in (first, second if colon else "", *groups) if number]
    if not all(number.isdecimal() for number in numbers):
        raise InvalidParameterError(f"--user and --additional-gids take numbers, not {text!r}")
    if first:
        uid = int(first)
    if second:
        gid = int(second)
    extra = tuple(int(group) for group in groups)
    return base._replace(uid=uid, gid=gid, additional_gids=base.additional_gids + extra)


COMMANDS: Final = {"exec": Command(run_exec, _FLAGS, failure_code=255)}
