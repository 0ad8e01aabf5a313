"""The commands of ``kedge`` as plain strings: name, module, summary. Nothing is imported from here.

Help, completion and dispatch read this one table, so a verb that is not in it does not exist.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


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
    Entry("inspect", "inspect", "Show everything about an object", "Containers"),
    Entry("cp", "cp", "Copy files between a container and this host", "Containers"),
    Entry("diff", "diff", "Show what changed in a container's files", "Containers"),
    Entry("commit", "commit", "Make an image from a container", "Containers"),
    Entry("export", "export", "Write a container's files as a tar archive", "Containers"),
    Entry("update", "update", "Change limits and restart policy of containers", "Containers"),
    Entry("rename", "rename", "Give a container another name", "Containers"),
    Entry("rm", "rm", "Remove containers", "Containers"),
    Entry("rmi", "rmi", "Remove images", "Images"),
    Entry("save", "save", "Write images to a tar archive", "Images"),
    Entry("load", "load", "Read images from a tar archive", "Images"),
    Entry("import", "importing", "Make an image from a tar archive of files", "Images"),
    Entry("search", "search", "Search Docker Hub for images", "Images"),
    Entry("tag", "tag", "Give an image another name", "Images"),
    Entry("history", "history", "Show how an image was made", "Images"),
    Entry("events", "events", "Show what happens in the engine", "Other"),
    Entry("completion", "completion", "Print a completion script for bash, zsh or fish", "Other"),
)

GROUPS: Final = {
    "container": "Work with containers",
    "image": "Work with images, and make base images without a registry",
    "manifest": "Make one name for images of several platforms",
    "volume": "Work with volumes",
    "network": "Work with networks",
    "registry": "Serve images to others",
    "compose": "Run applications of several containers from one file",
    "system": "Look at the engine, and clean up",
    "builder": "Build images, and clean up after builds",
    "context": "Choose the engine to talk to, and remember how to reach it",
}

_CONTAINER_VERBS: Final = (
    *("attach", "commit", "cp", "create", "diff", "exec", "export", "inspect", "kill", "logs"),
    *("pause", "port", "rename", "restart", "rm", "run", "start", "stats", "stop", "top"),
    *("unpause", "update", "wait"),
)

ALIASES: Final = {
    **{("container", verb): verb for verb in _CONTAINER_VERBS},
    ("container", "ls"): "ps",
    ("image", "build"): "build",
    ("image", "history"): "history",
    ("image", "import"): "import",
    ("image", "inspect"): "inspect",
    ("image", "load"): "load",
    ("image", "ls"): "images",
    ("image", "pull"): "pull",
    ("image", "push"): "push",
    ("image", "rm"): "rmi",
    ("image", "save"): "save",
    ("image", "tag"): "tag",
    ("system", "events"): "events",
    ("system", "info"): "info",
    ("builder", "build"): "build",
    ("network", "inspect"): "inspect",
    ("volume", "inspect"): "inspect",
}
"""Group and verb to the verb that does it."""

_COMPOSE: Final = {
    "attach": "Connect the terminal to a service's container",
    "build": "Build the images of services",
    "commit": "Make an image from a service's container",
    "config": "Print the model the Compose files make",
    "cp": "Copy files between a service's container and this host",
    "create": "Create everything without starting it",
    "down": "Stop and remove containers and networks",
    "events": "Show what happens to the project's containers",
    "exec": "Run a command in a service's container",
    "export": "Write a service's files as a tar archive",
    "images": "List the images the containers were made from",
    "kill": "Send a signal to services' containers",
    "logs": "Show the output of services",
    "ls": "List projects",
    "pause": "Freeze all processes of services",
    "port": "Show where a port of a service can be reached",
    "ps": "List the project's containers",
    "pull": "Download the images of services",
    "push": "Upload the images services build",
    "restart": "Restart services",
    "rm": "Remove containers that have ended",
    "run": "Run one command in a new container of a service",
    "scale": "Run more or fewer containers of services",
    "start": "Start services that were created",
    "stats": "Show what the project's containers use",
    "stop": "Stop services",
    "top": "Show the processes of services",
    "unpause": "Let paused services go on",
    "up": "Build, create and start everything",
    "version": "Show the version",
    "volumes": "List the project's volumes",
    "wait": "Wait until services' containers stop",
    "watch": "Take changes of files over into running services",
}

GROUP_ONLY: Final = {
    **{("compose", verb): Entry(verb, f"compose.{verb}", text) for verb, text in _COMPOSE.items()},
    ("image", "copy"): Entry(
        "copy", "imagecopy", "Copy an image between registries and OCI layouts"
    ),
    ("registry", "serve"): Entry("serve", "registryserve", "Be a registry for a team or a CI job"),
    ("manifest", "annotate"): Entry(
        "annotate", "manifestannotate", "Say for which platform an image of a list is"
    ),
    ("manifest", "create"): Entry("create", "manifestcreate", "Make a manifest list"),
    ("manifest", "inspect"): Entry("inspect", "manifestinspect", "Show a manifest or a list"),
    ("manifest", "push"): Entry("push", "manifestpush", "Push a manifest list"),
    ("manifest", "rm"): Entry("rm", "manifestrm", "Forget manifest lists"),
    ("container", "prune"): Entry("prune", "containerprune", "Remove all stopped containers"),
    ("image", "prune"): Entry("prune", "imageprune", "Remove images nobody uses"),
    ("volume", "create"): Entry("create", "volumecreate", "Create a volume"),
    ("volume", "ls"): Entry("ls", "volumels", "List volumes"),
    ("volume", "prune"): Entry("prune", "volumeprune", "Remove volumes nobody uses"),
    ("volume", "rm"): Entry("rm", "volumerm", "Remove volumes"),
    ("volume", "update"): Entry("update", "volumeupdate", "Change a volume of a cluster"),
    ("network", "connect"): Entry("connect", "networkconnect", "Put a container on a network"),
    ("network", "create"): Entry("create", "networkcreate", "Create a network"),
    ("network", "disconnect"): Entry(
        "disconnect", "networkdisconnect", "Take a container off a network"
    ),
    ("network", "ls"): Entry("ls", "networkls", "List networks"),
    ("network", "prune"): Entry("prune", "networkprune", "Remove networks nobody uses"),
    ("network", "rm"): Entry("rm", "networkrm", "Remove networks"),
    ("context", "create"): Entry("create", "contextcreate", "Remember an engine under a name"),
    ("context", "export"): Entry("export", "contextexport", "Write a context to a file"),
    ("context", "import"): Entry("import", "contextimport", "Read a context from a file"),
    ("context", "inspect"): Entry("inspect", "contextinspect", "Show everything about contexts"),
    ("context", "ls"): Entry("ls", "contextls", "List contexts"),
    ("context", "rm"): Entry("rm", "contextrm", "Remove contexts"),
    ("context", "show"): Entry("show", "contextshow", "Print the name of the context in use"),
    ("context", "update"): Entry("update", "contextupdate", "Change a context"),
    ("context", "use"): Entry("use", "contextuse", "Use a context from now on"),
    ("builder", "du"): Entry("du", "builderdu", "Show what the cache of builds takes"),
    ("builder", "prune"): Entry("prune", "builderprune", "Remove the cache of builds"),
    ("image", "bootstrap"): Entry(
        "bootstrap", "bootstrap", "Make a base image from the distribution's packages"
    ),
    ("system", "df"): Entry("df", "df", "Show how much disk space the engine uses"),
    ("system", "dial-stdio"): Entry(
        "dial-stdio", "dialstdio", "Connect standard input and output to the engine"
    ),
    ("system", "prune"): Entry("prune", "systemprune", "Remove everything nobody uses"),
}

SYNONYMS: Final = {"list": "ls", "ps": "ls", "remove": "rm", "convert": "config"}
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
