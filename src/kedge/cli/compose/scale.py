"""``kedge compose scale``: run more or fewer containers of services."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.converging import (
    IMAGE_FLAGS,
    check_image_flags,
    converge_verb,
    parse_scale,
)
from kedge.cli.compose.opening import is_set, open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient
from kedge.compose.plan import Wishes


def _run(options: Options, client: EngineClient) -> int:
    check_image_flags(options)
    scale = parse_scale(options.words)
    app = open_application(options, list(scale))
    names = app.checked(scale)
    services = names if options.on("no-deps") else app.with_dependencies(names)
    wishes = Wishes(
        services=tuple(services),
        named=frozenset(names),
        scale=scale,
        ignore_orphans=is_set(app.env, "COMPOSE_IGNORE_ORPHANS"),
    )
    return converge_verb(app, client, options, wishes, "scale")


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE=N...",
    summary="Run so many containers of a service; numbers that are free are used again",
    flags=(
        switch("no-deps", "Leave services the named ones depend on alone"),
        switch("yes", "Answer every question with yes", short="y"),
        *IMAGE_FLAGS,
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose scale worker=3", "Three containers of the service worker"),),
    at_least=1,
)
