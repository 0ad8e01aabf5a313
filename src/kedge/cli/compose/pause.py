"""``kedge compose pause``: freeze services where they are."""

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
    targets = [one for one in regular(containers) if one.state == "running"]

    def pause(client: EngineClient, one: Container) -> None:
        client.post(f"/containers/{one.id}/pause").read()

    do_to_all(options, client, app, targets, Deed("pause", "Pausing", "Paused", pause))
    return OK


COMMAND: Final = Command(
    usage="[SERVICE...]",
    summary="Freeze all processes of services",
    flags=PROJECT_FLAGS,
    run=_run,
    examples=(("kedge compose pause web", "Freeze one service"),),
    complete="service",
)
