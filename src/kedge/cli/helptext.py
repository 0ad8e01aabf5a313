"""What ``--help`` prints: one sentence, flags in groups, examples. Pure."""

from __future__ import annotations

import textwrap

from kedge.cli.flags import HELP, Flag
from kedge.cli.globalflags import GLOBAL_FLAGS
from kedge.cli.table import COMMANDS, GROUPS
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.cli.command import Command


_HELP_COLUMN: Final = 32


def command_help(name: str, command: Command, *, width: int = 100) -> str:
    """Return the help of one verb."""
    lines = [f"Usage: kedge {name} {command.usage}".rstrip(), "", f"{command.summary}."]
    flags = [*command.flags]
    if all(flag.short != HELP.short for flag in flags):
        flags.append(HELP)
    else:
        flags.append(HELP._replace(short=""))
    for group in dict.fromkeys(flag.group for flag in sorted(flags, key=lambda f: bool(f.group))):
        lines += ["", f"{group or 'Options'}:"]
        for flag in (flag for flag in flags if flag.group == group):
            lines += _flag_lines(flag, width)
    if command.examples:
        lines += ["", "Examples:"]
        for line, text in command.examples:
            lines += [f"  # {text}", f"  {line}"]
    return "\n".join(lines) + "\n"


def _flag_lines(flag: Flag, width: int) -> list[str]:
    head = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
    if flag.metavar:
        head += f" {flag.metavar}"
    text = flag.help
    if flag.default and flag.default not in {"true", "0"}:
        text += f" (default {flag.default})"
    elif flag.default == "true":
        text += " (on by default)"
    wrapped = textwrap.wrap(text, max(width - _HELP_COLUMN, 30))
    if len(head) + 2 > _HELP_COLUMN:
        return [head, *(" " * _HELP_COLUMN + line for line in wrapped)]
    first, *rest = wrapped
    return [head.ljust(_HELP_COLUMN) + first, *(" " * _HELP_COLUMN + line for line in rest)]


def group_help(group: str, entries: Sequence[tuple[str, str]]) -> str:
    """Return the help of ``kedge container`` and its like."""
    lines = [f"Usage: kedge {group} COMMAND", "", f"{GROUPS[group]}.", "", "Commands:"]
    lines += [f"  {name:<12}{summary}" for name, summary in entries]
    lines += ["", f"'kedge {group} COMMAND --help' explains a command and shows examples.", ""]
    return "\n".join(lines)


def general_help() -> str:
    """Return the help of ``kedge`` itself."""
    lines = [
        "Usage: kedge [GLOBAL OPTIONS] COMMAND [OPTIONS]",
        "",
        "Containers without Docker: build images, run them, look at them.",
    ]
    for heading in dict.fromkeys(entry.heading for entry in COMMANDS if entry.heading):
        lines += ["", f"{heading}:"]
        lines += [f"  {e.name:<12}{e.summary}" for e in COMMANDS if e.heading == heading]
    lines += ["", "Groups:", *(f"  {name:<12}{summary}" for name, summary in GROUPS.items())]
    lines += [
        "",
        "Global options:",
        *(line for flag in (*GLOBAL_FLAGS, HELP) for line in _flag_lines(flag, 100)),
        "",
        "KEDGE_HOST, DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CONFIG are honoured, in this order.",
        "",
        "'kedge COMMAND --help' explains a command and shows examples.",
        "",
        "Start here:  kedge run --rm busybox echo hello",
        "",
    ]
    return "\n".join(lines)
