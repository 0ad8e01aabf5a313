"""``kedge compose push``: upload the images services build."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient
from kedge.compose.images import plan_pushes


def _run(options: Options, client: EngineClient) -> int:
    app = open_application(options, options.words)
    services = app.checked(options.words)
    if options.on("include-deps"):
        services = app.with_dependencies(services)
    images = LateImages(may_fail=options.on("ignore-push-failures"))
    return run_plan(
        plan_pushes(app, services),
        app,
        client,
        options,
        "push",
        images=images,
        quiet=options.on("quiet"),
    )


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Upload the images services build; each needs a name in its 'image'",
    flags=(
        switch("ignore-push-failures", "Go on with the others when one cannot be pushed"),
        switch("include-deps", "Also images of what the services depend on"),
        switch("quiet", "Without progress", short="q"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose push web", "Upload the image of one service"),),
)
