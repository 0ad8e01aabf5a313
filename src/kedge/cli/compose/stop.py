"""``kedge compose stop``: stop containers, dependents first, and keep them."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.compose.timeouts import TIMEOUT_FLAG, timeout_s
from kedge.cli.flags import Options
from kedge.client.http import EngineClient
from kedge.compose.lifecycle import plan_stop
from kedge.compose.observed import observe


def _run(options: Options, client: EngineClient) -> int:
    app = find_application(options, client, options.words)
    observed = observe(client, app.name)
    plan = plan_stop(app, observed, app.checked(options.words), timeout_s(options))
    return run_plan(plan, app, client, options, "stop", observed)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Stop services; their containers stay",
    flags=(TIMEOUT_FLAG, *PROJECT_FLAGS),
    run=_run,
    examples=(("kedge compose stop -t 2 web", "Give the service two seconds to stop"),),
)
