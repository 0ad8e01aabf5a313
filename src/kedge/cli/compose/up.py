"""``kedge compose up``: build, create and start everything the files describe."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.converging import (
    CONVERGE_FLAGS,
    TIMEOUT_FLAG,
    check_converge_flags,
    converge_verb,
    timeout_s,
    wishes_of,
)
from kedge.cli.compose.opening import open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.flags import Options, UsageError, grouped, integer, switch, value
from kedge.client.http import EngineClient
from kedge.compose.decisions import Recreate


def _run(options: Options, client: EngineClient) -> int:
    check_converge_flags(options)
    if options.on("always-recreate-deps") and options.on("no-recreate"):
        raise UsageError("--always-recreate-deps and --no-recreate are incompatible")
    app = open_application(options, options.words)
    wishes = wishes_of(options, app, options.words, dependencies=not options.on("no-deps"))
    wishes = wishes._replace(
        renew_volumes=options.on("renew-anon-volumes"),
        timeout_s=timeout_s(options),
        start=not options.on("no-start"),
        wait=options.on("wait"),
    )
    if options.on("always-recreate-deps"):
        wishes = wishes._replace(recreate_dependencies=Recreate.FORCE)
    return converge_verb(app, client, options, wishes, "up")


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Build, create and start what the Compose files describe",
    flags=(
        switch("detach", "Run in the background", short="d"),
        *CONVERGE_FLAGS,
        *grouped(
            "Containers",
            switch("always-recreate-deps", "Make containers of dependencies anew, too"),
            switch("renew-anon-volumes", "Do not take anonymous volumes over", short="V"),
            switch("no-deps", "Leave services the named ones depend on alone"),
            switch("no-start", "Only create"),
            TIMEOUT_FLAG,
        ),
        *grouped(
            "Waiting",
            switch("wait", "Wait until everything runs and is healthy; implies -d"),
            value("wait-timeout", "SECONDS", "How long to wait at most", check=integer),
        ),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose up --build -d", "Build and start everything in the background"),
        ("kedge compose up -d --scale worker=3", "Three containers of one service"),
        ("kedge compose --dry-run up", "Only say what would be done, and why"),
    ),
)
