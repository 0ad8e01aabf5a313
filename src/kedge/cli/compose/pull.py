"""``kedge compose pull``: download the images of services."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.client.http import EngineClient
from kedge.compose.images import PullWishes, look_up, plan_pulls


def _run(options: Options, client: EngineClient) -> int:
    if options.text("policy") not in {"", "missing", "always"}:
        raise UsageError(f"invalid --policy {options.text('policy')}: want missing or always")
    app = open_application(options, options.words)
    services = app.checked(options.words)
    if options.on("include-deps"):
        services = app.with_dependencies(services)
    wishes = PullWishes(options.text("policy"), options.on("ignore-buildable"))
    local = look_up(client, [app.image(name) for name in services])
    plan = plan_pulls(app, services, local, wishes)
    images = LateImages(may_fail=options.on("ignore-pull-failures"))
    return run_plan(plan, app, client, options, "pull", images=images, quiet=options.on("quiet"))


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Download the images of services",
    flags=(
        value("policy", "POLICY", "missing or always (default always)", complete="missing|always"),
        switch("ignore-buildable", "Leave images that can be built alone"),
        switch("ignore-pull-failures", "Go on with the others when one cannot be had"),
        switch("include-deps", "Also images of what the services depend on"),
        switch("quiet", "Without progress", short="q"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose pull --policy missing", "Only what is not here"),),
)
