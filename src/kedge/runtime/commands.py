"""The commands of `kedge-runtime`: each a function from parsed options to an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys

from kedge.errdefs import (
    ConflictError,
    HookFailedError,
    InvalidParameterError,
    NotFoundError,
    UnavailableError,
)
from kedge.lib.clock import format_rfc3339
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import prctl
from kedge.runtime import lifecycle
from kedge.runtime.console import relay
from kedge.runtime.exec_command import EXEC_FLAGS, run_exec
from kedge.runtime.features import features_document
from kedge.runtime.options import SWITCH, VALUE, Flag, Parsed, alias
from kedge.runtime.resource_commands import (
    EVENTS_FLAGS,
    PS_FLAGS,
    UPDATE_FLAGS,
    run_events,
    run_ps,
    run_update,
)
from kedge.runtime.spec_template import rootless_document, spec_document
from kedge.runtime.state import Container, StateDirectory, load_all
from kedge.runtime.waiting import forward_signals, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject
    from kedge.runtime.journal import Invocation


class Command(NamedTuple):
    """A command: what it does, its options, its help."""

    run: Callable[[Invocation, Parsed], int]
    flags: Mapping[str, Flag]
    usage: str
    summary: str
    failure_code: int = 1


def _container(call: Invocation, options: Parsed) -> Container:
    return StateDirectory(call.root, options.one_argument("container id")).load()


def _print_json(document: Json) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _create_options(options: Parsed, *, keeps_terminal: bool = False) -> lifecycle.CreateOptions:
    return lifecycle.CreateOptions(
        bundle=options.value("bundle"),
        console_socket=options.value("console-socket"),
        pid_file=options.value("pid-file"),
        keep_host_root=options.switch("no-pivot"),
        new_keyring=not options.switch("no-new-keyring"),
        preserve_fds=options.number("preserve-fds"),
        keeps_terminal=keeps_terminal,
    )


def _create(call: Invocation, options: Parsed) -> int:
    lifecycle.create(call, options.one_argument("container id"), _create_options(options))
    return 0


def _start(call: Invocation, options: Parsed) -> int:
    lifecycle.start(call, _container(call, options))
    return 0


def _run(call: Invocation, options: Parsed) -> int:
    detach = options.switch("detach")
    keeps_terminal = not detach and not options.value("console-socket")
    container_id = options.one_argument("container id")
    prctl.set_child_subreaper()
    created = lifecycle.create(
        call, container_id, _create_options(options, keeps_terminal=keeps_terminal)
    )
    container = StateDirectory(call.root, container_id).load()
    try:
        if not detach:
            forward_signals(created.pidfd)
        lifecycle.start(call, container)
    except (HookFailedError, UnavailableError):
        # It has been deleted already, and poststop hooks run once.
        raise
    except BaseException:
        lifecycle.delete(call, container, force=True)
        raise
    if detach:
        return 0
    if created.pty_master >= 0 and keeps_terminal:
        relay(created.pty_master)
    code = wait_for(created.pid)
    if not options.switch("keep"):
        lifecycle.delete(call, container, force=True)
    return code


def _state(call: Invocation, options: Parsed) -> int:
    container = _container(call, options)
    status = container.status()
    _print_json(
        {
            "ociVersion": container.spec.oci_version,
            "id": container.container_id,
            "pid": container.record.pid if status != "stopped" else 0,
            "status": status,
            "bundle": container.record.bundle,
            "rootfs": _rootfs(container),
            "created": format_rfc3339(container.record.created_ns),
            "annotations": dict(container.spec.annotations),
            "owner": container.directory.owner(),
        }
    )
    return 0


def _rootfs(container: Container) -> str:
    root = container.spec.root
    return os.path.join(container.record.bundle, root.path) if root is not None else ""


def parse_signal(text: str) -> int:
    """Return the number of a signal given as ``9``, ``KILL`` or ``SIGKILL``.

    Raises:
        InvalidParameterError: There is no such signal.
    """
    if text.isdecimal() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in signal.Signals.__members__:
        return int(signal.Signals[name])
    raise InvalidParameterError(f"unknown signal {text!r}")


def _kill(call: Invocation, options: Parsed) -> int:
    if not 1 <= len(options.arguments) <= 2:
        raise InvalidParameterError("kill needs a container id and at most one signal")
    container_id, *rest = options.arguments
    # Docker and runc accept the switch after the id, too.
    everything = options.switch("all")
    signum = parse_signal(rest[0]) if rest else signal.SIGTERM
    container = StateDirectory(call.root, container_id).load()
    lifecycle.kill(container, signum, everything=everything)
    return 0


def _delete(call: Invocation, options: Parsed) -> int:
    force = options.switch("force")
    container_id = options.one_argument("container id")
    try:
        container = StateDirectory(call.root, container_id).load()
    except NotFoundError:
        if not force:
            raise
        try:
            lifecycle.discard(call.root, container_id)
        except NotFoundError:
            return 0
        return 0
    lifecycle.delete(call, container, force=force)
    return 0


def _list(call: Invocation, options: Parsed) -> int:
    containers = load_all(call.root)
    if options.switch("quiet"):
        for container in containers:
            sys.stdout.write(container.container_id + "\n")
        return 0
    rows: list[JsonObject] = [
        {
            "id": container.container_id,
            "pid": container.record.pid if container.is_alive() else 0,
            "status": container.status(),
            "bundle": container.record.bundle,
            "created": format_rfc3339(container.record.created_ns),
            "ociVersion": container.spec.oci_version,
            "rootfs": _rootfs(container),
            "annotations": dict(container.spec.annotations),
            "owner": container.directory.owner(),
        }
        for container in containers
    ]
    if options.value("format", "table") == "json":
        _print_json([*rows])
        return 0
    names = ("id", "pid", "status", "bundle", "created", "owner")
    _print_table(
        [[name.upper() for name in names], *([str(row[n]) for n in names] for row in rows)]
    )
    return 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("   ".join(cells).rstrip() + "\n")


def _pause(call: Invocation, options: Parsed) -> int:
    container = _container(call, options)
    if container.status() not in ("running", "created"):
        raise ConflictError(
            f"cannot pause container {container.container_id}: it is {container.status()}"
        )
    container.living_cgroup().freeze()
    return 0


def _resume(call: Invocation, options: Parsed) -> int:
    container = _container(call, options)
    if container.status() != "paused":
        raise ConflictError(f"container {container.container_id} is not paused")
    container.living_cgroup().thaw()
    return 0


def _spec(_call: Invocation, options: Parsed) -> int:
    path = os.path.join(options.value("bundle", "."), "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(
                rootless_document() if options.switch("rootless") else spec_document(),
                file,
                indent=2,
            )
            file.write("\n")
    except FileExistsError as error:
        raise ConflictError(f"{path} exists already; remove it first") from error
    return 0


def _features(_call: Invocation, _options: Parsed) -> int:
    _print_json(features_document())
    return 0


_CREATE_FLAGS: Final = {
    "bundle": VALUE,
    "b": alias("bundle"),
    "console-socket": VALUE,
    "pid-file": VALUE,
    "no-pivot": SWITCH,
    "no-new-keyring": SWITCH,
    "preserve-fds": VALUE,
}
_FORMAT_FLAGS: Final = {"format": VALUE, "f": alias("format"), "quiet": SWITCH, "q": alias("quiet")}

COMMANDS: Final = {
    "create": Command(_create, _CREATE_FLAGS, "[OPTIONS] ID", "create a container from a bundle"),
    "start": Command(_start, {}, "ID", "run the program of a created container"),
    "run": Command(
        _run,
        {**_CREATE_FLAGS, "detach": SWITCH, "d": alias("detach"), "keep": SWITCH},
        "[OPTIONS] ID",
        "create and start a container",
    ),
    "state": Command(_state, {}, "ID", "print a container's state as JSON"),
    "kill": Command(
        _kill, {"all": SWITCH, "a": alias("all")}, "[--all] ID [SIGNAL]", "send a signal"
    ),
    "delete": Command(
        _delete, {"force": SWITCH, "f": alias("force")}, "[--force] ID", "remove a container"
    ),
    "exec": Command(
        run_exec,
        EXEC_FLAGS,
        "[OPTIONS] ID COMMAND [ARG...]",
        "run another process in a container",
        failure_code=255,
    ),
    "list": Command(_list, _FORMAT_FLAGS, "[-q] [-f table|json]", "list containers"),
    "ps": Command(
        run_ps, PS_FLAGS, "[-f table|json] ID [PS OPTIONS]", "list a container's processes"
    ),
    "pause": Command(_pause, {}, "ID", "freeze every process of a container"),
    "resume": Command(_resume, {}, "ID", "let a paused container go on"),
    "update": Command(
        run_update,
        UPDATE_FLAGS,
        "[--memory SIZE] [--cpu-quota US] ... | --resources FILE ID",
        "change limits",
    ),
    "events": Command(
        run_events,
        EVENTS_FLAGS,
        "[--stats] [--interval 5s] ID",
        "print counters, and when memory runs out, as JSON",
    ),
    "spec": Command(
        _spec,
        {"bundle": VALUE, "b": alias("bundle"), "rootless": SWITCH},
        "[--rootless] [-b DIR]",
        "write a config.json",
    ),
    "features": Command(_features, {}, "", "print what this runtime supports as JSON"),
}
