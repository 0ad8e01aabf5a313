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
    heading: str = ""
    """Heading in the help."""


COMMANDS: Final = (
    Entry("run", "run", "Create and run a new container from an image", "Common"),
    Entry("exec", "execute", "Run a command in a running container", "Common"),
    Entry("ps", "ps", "List containers", "Common"),
    Entry("build", "build", "Build an image from a Dockerfile", "Common"),
    Entry("pull", "pull", "Download an image from a registry", "Common"),
    Entry("push", "push", "Upload an image to a registry", "Common"),
    Entry("images", "images", "List images", "Common"),
    Entry("login", "login", "Log in to a registry", "Common"),
    Entry("logout", "logout", "Log out from a registry", "Common"),
    Entry("version", "version", "Show the version of client and engine", "Common"),
    Entry("info", "info", "Show facts about the engine", "Common"),
    Entry("create", "create", "Create a container without starting it", "Containers"),
    Entry("start", "start", "Start stopped containers", "Containers"),
    Entry("stop", "stop", "Stop running containers", "Containers"),
    Entry("restart", "restart", "Restart containers", "Containers"),
    Entry("kill", "kill", "Send a signal to running containers", "Containers"),
    Entry("pause", "pause", "Freeze all processes of containers", "Containers"),
    Entry("unpause", "unpause", "Let paused containers go on", "Containers"),
    Entry("attach", "attach", "Connect the terminal to a running container", "Containers"),
    Entry("logs", "logs", "Show the output of a container", "Containers"),
    Entry("wait", "wait", "Wait until containers stop, and print their exit codes", "Containers"),
    Entry("top", "top", "Show the processes of a container", "Containers"),
    Entry("port", "port", "List a container's published ports", "Containers"),
    Entry("stats", "stats", "Show what containers use", "Containers"),
    Entry("inspect", "inspect", "Show everything about containers and images", "Containers"),
    Entry("rename", "rename", "Give a container another name", "Containers"),
    Entry("rm", "rm", "Remove containers", "Containers"),
    Entry("rmi", "rmi", "Remove images", "Images"),
    Entry("tag", "tag", "Give an image another name", "Images"),
    Entry("history", "history", "Show how an image was made", "Images"),
    Entry("completion", "completion", "Print a completion script for bash, zsh or fish", "Other"),
)

GROUPS: Final = {
    "container": "Work with containers",
    "image": "Work with images, and make base images without a registry",
    "system": "Look at the engine",
}

_CONTAINER_VERBS: Final = (
    *("attach", "create", "exec", "inspect", "kill", "logs", "pause", "port", "rename"),
    *("restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "wait"),
)

ALIASES: Final = {
    **{("container", verb): verb for verb in _CONTAINER_VERBS},
    ("container", "ls"): "ps",
    ("image", "build"): "build",
    ("image", "history"): "history",
    ("image", "inspect"): "inspect",
    ("image", "ls"): "images",
    ("image", "pull"): "pull",
    ("image", "push"): "push",
    ("image", "rm"): "rmi",
    ("image", "tag"): "tag",
    ("system", "info"): "info",
}
"""Group and verb to the verb that does it."""

GROUP_ONLY: Final = {
    ("image", "bootstrap"): Entry(
        "bootstrap", "bootstrap", "Make a base image from the distribution's packages"
    ),
    ("system", "df"): Entry("df", "df", "Show how much disk space the engine uses"),
}

SYNONYMS: Final = {"list": "ls", "ps": "ls", "remove": "rm"}
"""Other names Docker has for verbs of a group."""

HIDDEN: Final = {"__complete": Entry("__complete", "complete", "Print names for tab completion")}


def find_entry(name: str) -> Entry | None:
    """Return the verb called ``name``."""
    found = next((entry for entry in COMMANDS if entry.name == name), None)
    return found or HIDDEN.get(name)


def find_in_group(group: str, name: str) -> Entry | None:
    """Return the verb called ``name`` of ``group``."""
    for verb in (name, SYNONYMS.get(name, name)):
        if (group, verb) in GROUP_ONLY:
            return GROUP_ONLY[group, verb]
        if (group, verb) in ALIASES:
            return find_entry(ALIASES[group, verb])
    return None


def group_entries(group: str) -> list[tuple[str, str]]:
    """Return name and summary of the verbs of ``group``, sorted."""
    names = sorted(verb for owner, verb in (*ALIASES, *GROUP_ONLY) if owner == group)
    return [(name, entry.summary) for name in names if (entry := find_in_group(group, name))]
