"""``kedge compose rm``: remove containers that have ended."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers, regular
from kedge.cli.compose.signalling import Deed, do_to_all
from kedge.cli.confirm import confirm
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient
from kedge.compose.observed import Container


def _run(options: Options, client: EngineClient) -> int:
    app, found = find_containers(options, client, options.words)
    containers = regular(found)
    if options.on("stop"):
        alive = [one for one in containers if one.is_running]
        do_to_all(options, client, app, alive, Deed("stop", "Stopping", "Stopped", _stop))
    else:
        containers = [one for one in containers if not one.is_running]
    if not containers:
        sys.stderr.write("No stopped containers\n")
        return OK
    names = ", ".join(one.name for one in containers)
    sys.stdout.write(f"Going to remove {names}\n")
    asks = not options.on("force") and not options.on("dry-run")
    if asks and not confirm("Are you sure?"):
        return OK

    def remove(client: EngineClient, one: Container) -> None:
        query = {"force": options.on("force"), "v": options.on("volumes")}
        client.delete(f"/containers/{one.id}", query).read()

    do_to_all(options, client, app, containers, Deed("rm", "Removing", "Removed", remove))
    return OK


def _stop(client: EngineClient, one: Container) -> None:
    client.post(f"/containers/{one.id}/stop").read()


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Remove services' containers that have ended; volumes with a name stay",
    flags=(
        switch("force", "Do not ask", short="f"),
        switch("stop", "Stop the containers first", short="s"),
        switch("volumes", "Remove their anonymous volumes, too", short="v"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose rm", "Remove what has ended, after a question"),
        ("kedge compose rm -fsv worker", "Stop one service and remove it with its volumes"),
    ),
    complete="service",
)
