"""``kedge compose down``: stop and remove what ``up`` made."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application, is_set
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.compose.timeouts import TIMEOUT_FLAG, timeout_s
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.client.http import EngineClient
from kedge.compose.observed import observe
from kedge.compose.removal import DownWishes, plan_down


def _run(options: Options, client: EngineClient) -> int:
    if options.text("rmi") not in {"", "local", "all"}:
        raise UsageError(f"invalid value for --rmi: {options.text('rmi')}: want local or all")
    app = find_application(options, client, options.words)
    orphans = options.on("remove-orphans") or is_set(app.env, "COMPOSE_REMOVE_ORPHANS")
    wishes = DownWishes(
        tuple(app.checked(options.words)) if options.words else (),
        orphans,
        options.on("volumes"),
        options.text("rmi"),
        timeout_s(options),
    )
    observed = observe(client, app.name)
    return run_plan(plan_down(app, observed, wishes), app, client, options, "down", observed)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Stop and remove containers and networks of the project",
    flags=(
        switch("remove-orphans", "Remove containers of services no file has, too"),
        value("rmi", "local|all", "Remove images: local ones without a name, or all",
              complete="local|all"),
        switch("volumes", "Remove the project's volumes; their data is lost", short="v"),
        TIMEOUT_FLAG,
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose down", "Stop and remove everything but volumes"),
        ("kedge compose down --volumes --rmi local", "Volumes and built images, too"),
    ),
)  # fmt: skip
