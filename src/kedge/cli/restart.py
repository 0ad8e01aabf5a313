"""``kedge restart``: stop and start again."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.cli.stop import STOP_FLAGS, stop_query
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


def _run(options: Options, client: EngineClient) -> int:
    query = stop_query(options)
    return for_each(
        options.words,
        lambda name: _discard(client, f"/containers/{percent_encode(name)}/restart", query),
    )


def _discard(client: EngineClient, path: str, query: dict[str, str]) -> None:
    client.post(path, query).read()


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER...",
    summary="Stop containers and start them again",
    flags=STOP_FLAGS,
    run=_run,
    examples=(("kedge restart -t 1 web", "Restart a container, waiting one second at most"),),
    at_least=1,
    complete="container",
)
