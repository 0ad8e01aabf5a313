"""``kedge compose start``: start containers that were created, in the order they depend."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.flags import Options, integer, switch, value
from kedge.client.http import EngineClient
from kedge.compose.lifecycle import plan_start
from kedge.compose.observed import observe


def _run(options: Options, client: EngineClient) -> int:
    app = find_application(options, client, options.words)
    observed = observe(client, app.name)
    services = app.checked(options.words)
    if not options.words:
        # Services without containers were not created: there is nothing of them to start.
        services = [name for name in services if observed.of_service(name)] or services
    plan = plan_start(
        app,
        observed,
        services,
        wait=options.on("wait"),
        wait_timeout_s=options.integer("wait-timeout"),
    )
    return run_plan(plan, app, client, options, "start", observed)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Start services that were created or stopped",
    flags=(
        switch("wait", "Wait until everything runs and is healthy"),
        value("wait-timeout", "SECONDS", "How long to wait at most", check=integer),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose start web", "Start one service"),),
)
