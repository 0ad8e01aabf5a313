"""The commands of ``kedge`` as plain strings: name, module, summary. Nothing is imported from here.

Help, completion and dispatch read this one table, so a verb that is not in it does not exist.
"""

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """One verb."""

    name: str
    module: str
    """Module below ``kedge.cli`` that has a ``COMMAND``."""
    summary: str
    group: str = ""
    """Heading in the help; empty for verbs that are found below a group's name only."""


COMMANDS: Final = (
    Entry("run", "run", "Create and run a new container from an image", "Common"),
    Entry("exec", "exec", "Run a command in a running container", "Common"),
    Entry("ps", "ps", "List containers", "Common"),
    Entry("build", "build", "Build an image from a Dockerfile", "Common"),
    Entry("pull", "pull", "Download an image from a registry", "Common"),
    Entry("images", "images", "List images", "Common"),
    Entry("version", "version", "Show the version of client and engine", "Common"),
    Entry("info", "info", "Show facts about the engine", "Common"),
    Entry("logs", "logs", "Show the output of a container", "Containers"),
    Entry("start", "start", "Start stopped containers", "Containers"),
    Entry("stop", "stop", "Stop running containers", "Containers"),
    Entry("restart", "restart", "Restart containers", "Containers"),
    Entry("kill", "kill", "Send a signal to running containers", "Containers"),
    Entry("rm", "rm", "Remove containers", "Containers"),
    Entry("port", "port", "List a container's published ports", "Containers"),
    Entry("stats", "stats", "Show what containers use", "Containers"),
    Entry("inspect", "inspect", "Show everything about containers and images", "Containers"),
    Entry("rmi", "rmi", "Remove images", "Images"),
    Entry("tag", "tag", "Give an image another name", "Images"),
    Entry("history", "history", "Show how an image was made", "Images"),
    Entry("image", "image", "Make base images without a registry (image bootstrap)", "Images"),
    Entry("completion", "completion", "Print a completion script for bash, zsh or fish", "Other"),
)


def find_entry(name: str) -> Entry | None:
    """Return the verb called ``name``."""
    return next((entry for entry in COMMANDS if entry.name == name), None)
