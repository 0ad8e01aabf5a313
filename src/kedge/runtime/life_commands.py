"""The commands of `kedge-runtime` that make and end containers."""

from __future__ import annotations

from kedge.errdefs import (
    HookFailedError,
    InvalidParameterError,
    NotFoundError,
    UnavailableError,
)
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import prctl
from kedge.linux.signals import COUNT, SIGTERM
from kedge.runtime import lifecycle
from kedge.runtime.options import SWITCH, VALUE, Command, Parsed, alias
from kedge.runtime.state import Container, StateDirectory
from kedge.runtime.waiting import Foreground

if TYPE_CHECKING:
    from typing import Final

    from kedge.runtime.journal import Invocation


def _container(call: Invocation, options: Parsed) -> Container:
    return StateDirectory(call.root, options.one_argument("container id")).load()


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
    created, container = lifecycle.create(
        call, container_id, _create_options(options, keeps_terminal=keeps_terminal)
    )
    try:
        foreground = None if detach else Foreground(created.pid, created.pidfd)
        lifecycle.start(call, container)
    except (HookFailedError, UnavailableError):
        # It has been deleted already, and poststop hooks run once.
        raise
    except BaseException:
        lifecycle.delete(call, container, force=True)
        raise
    if foreground is None:
        return 0
    if created.pty_master >= 0 and keeps_terminal:
        from kedge.runtime.console import relay  # noqa: PLC0415 - most have no terminal

        relay(created.pty_master, foreground)
    code = foreground.wait()
    if not options.switch("keep"):
        lifecycle.delete(call, container, force=True)
    return code


def parse_signal(text: str) -> int:
    """Return the number of a signal given as ``9``, ``KILL`` or ``SIGKILL``.

    Raises:
        InvalidParameterError: There is no such signal.
    """
    if text.isdecimal() and 0 < int(text) < COUNT:
        return int(text)
    import signal  # noqa: PLC0415 - 6 ms, for the names

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
    signum = parse_signal(rest[0]) if rest else SIGTERM
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


_CREATE_FLAGS: Final = {
    "bundle": VALUE,
    "b": alias("bundle"),
    "console-socket": VALUE,
    "pid-file": VALUE,
    "no-pivot": SWITCH,
    "no-new-keyring": SWITCH,
    "preserve-fds": VALUE,
}
COMMANDS: Final = {
    "create": Command(_create, _CREATE_FLAGS),
    "start": Command(_start, {}),
    "run": Command(_run, {**_CREATE_FLAGS, "detach": SWITCH, "d": alias("detach"), "keep": SWITCH}),
    "kill": Command(_kill, {"all": SWITCH, "a": alias("all")}),
    "delete": Command(_delete, {"force": SWITCH, "f": alias("force")}),
}
