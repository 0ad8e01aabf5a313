"""The commands of `kedge-runtime`: what each is for, and in which module it is.

A table of words, so that a command loads itself and none of the others.
"""

from __future__ import annotations

import sys

from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

    from kedge.runtime.options import Command


class Entry(NamedTuple):
    """Where a command is, and its help."""

    module: str
    """Of `kedge.runtime`; its ``COMMANDS`` has the command by name."""
    usage: str
    summary: str


_CREATING: Final = "[OPTIONS] ID"
COMMANDS: Final = {
    "create": Entry("life_commands", _CREATING, "create a container from a bundle"),
    "start": Entry("life_commands", "ID", "run the program of a created container"),
    "run": Entry("life_commands", _CREATING, "create and start a container"),
    "state": Entry("look_commands", "ID", "print a container's state as JSON"),
    "kill": Entry("life_commands", "[--all] ID [SIGNAL]", "send a signal"),
    "delete": Entry("life_commands", "[--force] ID", "remove a container"),
    "exec": Entry(
        "exec_command", "[OPTIONS] ID COMMAND [ARG...]", "run another process in a container"
    ),
    "list": Entry("look_commands", "[-q] [-f table|json]", "list containers"),
    "ps": Entry(
        "resource_commands", "[-f table|json] ID [PS OPTIONS]", "list a container's processes"
    ),
    "pause": Entry("look_commands", "ID", "freeze every process of a container"),
    "resume": Entry("look_commands", "ID", "let a paused container go on"),
    "update": Entry(
        "resource_commands",
        "[--memory SIZE] [--cpu-quota US] ... | --resources FILE ID",
        "change limits",
    ),
    "events": Entry(
        "resource_commands",
        "[--stats] [--interval 5s] ID",
        "print counters, and when memory runs out, as JSON",
    ),
    "spec": Entry("look_commands", "[--rootless] [-b DIR]", "write a config.json"),
    "features": Entry("look_commands", "", "print what this runtime supports as JSON"),
}


def load_command(name: str) -> Command:
    """Return the command ``name``, one of `COMMANDS`."""
    module = f"kedge.runtime.{COMMANDS[name].module}"
    __import__(module)  # `importlib` would cost as much as the command's own module
    commands: dict[str, Command] = sys.modules[module].COMMANDS
    return commands[name]
