"""``kedge compose create``: everything ``up`` does but starting."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.converging import (
    CONVERGE_FLAGS,
    check_converge_flags,
    converge_verb,
    wishes_of,
)
from kedge.cli.compose.opening import open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.flags import Options
from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    check_converge_flags(options)
    app = open_application(options, options.words)
    wishes = wishes_of(options, app, options.words, dependencies=True)
    return converge_verb(app, client, options, wishes._replace(start=False), "create")


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Create containers, networks and volumes without starting anything",
    flags=(*CONVERGE_FLAGS, *PROJECT_FLAGS),
    run=_run,
    examples=(("kedge compose create --build", "Build and create, to start later"),),
)
