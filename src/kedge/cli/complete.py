"""``kedge __complete KIND``: names for tab completion; silent when there is no engine."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.cli.output import print_lines
from kedge.client.http import EngineClient
from kedge.errdefs import KedgeError
from kedge.lib.fields import mapping, objects, text, texts

_STATES: Final = {
    "container": frozenset[str](),
    "running": frozenset({"running", "paused"}),
    "stopped": frozenset({"exited", "created", "dead"}),
    "paused": frozenset({"paused"}),
}


def _run(options: Options, client: EngineClient) -> int:
    kind = options.words[0]
    try:
        print_lines(_names(client, kind))
    except KedgeError:
        # Nobody wants an error message at the prompt.
        return OK
    return OK


def _names(client: EngineClient, kind: str) -> list[str]:
    match kind:
        case "image":
            return _images(client)
        case "volume":
            return [
                text(found, "Name") for found in objects(client.get("/volumes").object(), "Volumes")
            ]
        case "network":
            return [text(found, "Name") for found in client.get("/networks").objects()]
        case "context":
            from kedge.cli.contexts import list_contexts  # noqa: PLC0415 - only here

            return ["default", *(context.name for context in list_contexts())]
        case "service":
            return _services()
        case _:
            return _containers(client, kind)


def _services() -> list[str]:
    """Return the services of the Compose file of this folder."""
    import os  # noqa: PLC0415 - only here

    from kedge.compose.project import Wanted, load_project  # noqa: PLC0415 - only here

    wanted = Wanted(profiles=("*",), consistency=False)
    return list(mapping(load_project(wanted, os.environ, lambda _text: None).model, "services"))


def _containers(client: EngineClient, kind: str) -> list[str]:
    states = _STATES.get(kind, frozenset())
    return [
        name.removeprefix("/")
        for container in client.get("/containers/json", {"all": kind != "running"}).objects()
        if not states or text(container, "State") in states
        for name in texts(container, "Names")
    ]


def _images(client: EngineClient) -> list[str]:
    images = client.get("/images/json").objects()
    return [
        name for image in images for name in texts(image, "RepoTags") if name != "<none>:<none>"
    ]


COMMAND: Final = Command(
    usage="container|running|stopped|paused|image|volume|network|context|service",
    summary="Print names for tab completion",
    flags=(),
    run=_run,
    at_least=1,
    at_most=1,
    needs_engine=False,
)
