"""`kedge-runtime`: the OCI runtime as a command, for containerd, Podman and conformance suites.

Options, output and exit codes follow runc, because its callers parse them. Commands are in
`kedge.runtime.commands`; this module has the global options and the exit code.
"""

from __future__ import annotations

import gc
import os
import sys

from kedge import __version__
from kedge.errdefs import ForbiddenError, InvalidParameterError, KedgeError
from kedge.lib.compiled import find_compiled_first
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.commands import COMMANDS, load_command
from kedge.runtime.failures import reason
from kedge.runtime.journal import DEFAULT_ROOT, Invocation, Journal
from kedge.runtime.options import SWITCH, VALUE, alias, parse_options

if TYPE_CHECKING:
    from typing import Final


_GLOBAL: Final = {
    "root": VALUE,
    "log": VALUE,
    "log-format": VALUE,
    "debug": SWITCH,
    "systemd-cgroup": SWITCH,
    "rootless": VALUE,
    "criu": VALUE,
    "help": SWITCH,
    "h": alias("help"),
    "version": SWITCH,
    "v": alias("version"),
}

_NO_SYSTEMD: Final = (
    "--systemd-cgroup is not supported: kedge-runtime makes cgroups itself and asks no systemd for"
    " them; have the caller use cgroupfs (Podman: --cgroup-manager cgroupfs, containerd:"
    " SystemdCgroup = false, dockerd: --exec-opt native.cgroupdriver=cgroupfs)"
)
_NO_ROOTLESS: Final = (
    "rootless containers are not supported yet (ids mapped by newuidmap, mounts made inside the"
    " user namespace and a cgroup of the user's are missing); run it as root, or have crun or runc"
    " do it"
)
# Those that need what only root may do; the others say what they may not read.
_MAKING: Final = ("create", "run")


def _usage() -> str:
    lines = [
        "kedge-runtime runs containers from OCI bundles",
        "",
        "usage: kedge-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND ...",
        "",
        "commands:",
    ]
    lines += [f"  {name:<9} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(lines) + "\n"


def _version() -> str:
    from kedge.runtime.features import SPEC_VERSION  # noqa: PLC0415 - for those who ask

    return f"kedge-runtime version {__version__}\nspec: {SPEC_VERSION}\n"


def _help(name: str) -> str:
    entry = COMMANDS[name]
    return f"usage: kedge-runtime {name} {entry.usage}\n{entry.summary}\n"


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    journal = Journal()
    failure_code = 1
    try:
        options = parse_options(arguments, _GLOBAL)
        if options.switch("version"):
            sys.stdout.write(_version())
            return 0
        if options.switch("help") or not options.arguments:
            sys.stdout.write(_usage())
            return 0
        journal = Journal(
            options.value("log"), options.value("log-format", "text"), debug=options.switch("debug")
        )
        name, *rest = options.arguments
        if name not in COMMANDS:
            raise InvalidParameterError(
                f"unknown command {name!r} (kedge-runtime --help lists them)"
            )
        if options.switch("systemd-cgroup"):
            raise InvalidParameterError(_NO_SYSTEMD)
        command = load_command(name)
        failure_code = command.failure_code
        parsed = parse_options(rest, {**command.flags, "help": SWITCH, "h": alias("help")})
        if parsed.switch("help"):
            sys.stdout.write(_help(name))
            return 0
        if name in _MAKING and os.geteuid() != 0:
            raise ForbiddenError(f"{name} needs root: {_NO_ROOTLESS}")
        root = os.path.abspath(options.value("root", DEFAULT_ROOT))
        return command.run(Invocation(root, journal), parsed)
    except KedgeError as error:
        journal.error(str(error))
        return failure_code
    except OSError as error:
        journal.error(f"{error.filename}: {reason(error)}" if error.filename else str(error))
        return failure_code


def main() -> None:
    """Run the command of ``sys.argv`` and exit.

    Nothing is worth being collected in a process this short, or taken down piece by piece.
    """
    gc.disable()
    find_compiled_first()
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
