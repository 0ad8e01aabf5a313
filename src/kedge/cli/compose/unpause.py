"""``kedge compose unpause``: let paused services go on."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers, regular
from kedge.cli.compose.signalling import Deed, do_to_all
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.client.http import EngineClient
from kedge.compose.observed import Container


def _run(options: Options, client: EngineClient) -> int:
    app, containers = find_containers(options, client, options.words)
    targets = [one for one in regular(containers) if one.state == "paused"]

    def unpause(client: EngineClient, one: Container) -> None:
        client.post(f"/containers/{one.id}/unpause").read()

    do_to_all(options, client, app, targets, Deed("unpause", "Unpausing", "Unpaused", unpause))
    return OK


COMMAND: Final = Command(
    usage="[SERVICE...]",
    summary="Let paused services go on",
    flags=PROJECT_FLAGS,
    run=_run,
    examples=(("kedge compose unpause web", "Let one service go on"),),
    complete="service",
)
