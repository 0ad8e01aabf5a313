"""``kedge compose kill``: a signal to the main process of services' containers."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers
from kedge.cli.compose.signalling import Deed, do_to_all
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.client.http import EngineClient
from kedge.compose.observed import Container


def _run(options: Options, client: EngineClient) -> int:
    app, containers = find_containers(options, client, options.words)
    query = {"signal": options.text("signal")}

    def kill(client: EngineClient, one: Container) -> None:
        client.post(f"/containers/{one.id}/kill", query).read()

    known = {*app.services, *app.disabled} if app.from_files else set[str]()
    targets = [
        one
        for one in containers
        if one.is_running and (not known or one.service in known or options.on("remove-orphans"))
    ]
    if not targets:
        sys.stderr.write("no container to kill: nothing of the project runs\n")
        return OK
    do_to_all(options, client, app, targets, Deed("kill", "Killing", "Killed", kill))
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Send a signal to services' containers, SIGKILL unless told otherwise",
    flags=(
        value("signal", "SIGNAL", "Signal by name or number", short="s", default="SIGKILL",
              complete="SIGKILL|SIGTERM|SIGHUP|SIGINT|SIGUSR1|SIGUSR2"),
        switch("remove-orphans", "Containers of services no file has, too"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose kill", "End everything at once"),
        ("kedge compose kill -s HUP web", "Make a server read its settings again"),
    ),
    complete="service",
)  # fmt: skip
