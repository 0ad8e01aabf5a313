"""`kedge-runtime`: the OCI runtime as a command, for containerd, Podman and conformance suites.

Options, output and exit codes follow runc, because its callers parse them. Commands are in
`kedge.runtime.commands`; this module has the global options, the log and the exit code.
"""

import json
import os
import sys
from typing import Final

from kedge import __version__
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.lib.clock import SYSTEM_CLOCK, format_rfc3339
from kedge.runtime.commands import COMMANDS
from kedge.runtime.options import SWITCH, VALUE, Parsed, alias, parse_options
from kedge.runtime.state import DEFAULT_ROOT

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
_VERSION: Final = f"kedge-runtime version {__version__}\nspec: 1.2.0\n"


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


def _log(options: Parsed, message: str) -> None:
    """Add a line to the file of ``--log``, from which containerd reads why a command failed."""
    path = options.value("log")
    if not path:
        return
    now = format_rfc3339(SYSTEM_CLOCK.time_ns())
    if options.value("log-format") == "json":
        line = json.dumps({"level": "error", "msg": message, "time": now})
    else:
        line = f'time="{now}" level=error msg={json.dumps(message)}'
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    options = Parsed({}, [])
    failure_code = 1
    try:
        options = parse_options(arguments, _GLOBAL)
        if options.switch("version"):
            sys.stdout.write(_VERSION)
            return 0
        if options.switch("help") or not options.arguments:
            sys.stdout.write(_usage())
            return 0
        name, *rest = options.arguments
        command = COMMANDS.get(name)
        if command is None:
            raise InvalidParameterError(
                f"unknown command {name!r} (kedge-runtime --help lists them)"
            )
        if options.switch("systemd-cgroup"):
            raise InvalidParameterError(
                "--systemd-cgroup is not supported: configure the caller for cgroupfs"
            )
        failure_code = command.failure_code
        parsed = parse_options(rest, {**command.flags, "help": SWITCH, "h": alias("help")})
        if parsed.switch("help"):
            sys.stdout.write(f"usage: kedge-runtime {name} {command.usage}\n{command.summary}\n")
            return 0
        return command.run(os.path.abspath(options.value("root", DEFAULT_ROOT)), parsed)
    except (KedgeError, OSError) as error:
        message = str(error)
        _log(options, message)
        sys.stderr.write(f"kedge-runtime: {message}\n")
        return failure_code


def main() -> None:
    """Run the command of ``sys.argv`` and exit."""
    sys.exit(run(sys.argv[1:]))
