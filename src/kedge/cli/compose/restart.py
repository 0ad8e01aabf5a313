"""``kedge compose restart``: stop services and start them again as they are."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.compose.timeouts import TIMEOUT_FLAG, timeout_s
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient
from kedge.compose.lifecycle import plan_restart
from kedge.compose.observed import observe


def _run(options: Options, client: EngineClient) -> int:
    app = find_application(options, client, options.words)
    observed = observe(client, app.name)
    plan = plan_restart(
        app,
        observed,
        app.checked(options.words),
        timeout_s(options),
        dependents=not options.on("no-deps"),
    )
    return run_plan(plan, app, client, options, "restart", observed)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Restart services; changed files have no effect before the next up",
    flags=(
        TIMEOUT_FLAG,
        switch("no-deps", "Leave services that want to be restarted with them alone"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose restart web", "Restart one service"),),
)
