"""``kedge compose exec``: another program in a service's running container."""

import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_one
from kedge.cli.execute import Program, execute_in
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.options.environment import check_env, parse_env
from kedge.cli.wanted import Wanted
from kedge.client.http import EngineClient
from kedge.client.terminal import is_tty


def _run(options: Options, client: EngineClient) -> int:
    service, *command = options.words
    container = find_one(options, client, service)
    tty = not options.on("no-tty") and sys.stdout.isatty() and is_tty(0)
    if options.given("tty"):
        tty = options.on("tty")
    program = Program(
        container.name,
        tuple(command),
        Wanted(options.on("interactive"), True, True, tty),  # noqa: FBT003 - a record
        detached=options.on("detach"),
        env=tuple(parse_env(word, os.environ.get) for word in options.texts("env")),
        user=options.text("user"),
        directory=options.text("workdir"),
        privileged=options.on("privileged"),
    )
    return execute_in(client, program)


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE COMMAND [ARG...]",
    summary="Run another program in a service's container; its exit code becomes this command's",
    flags=(
        switch("detach", "Run in the background", short="d"),
        many("env", "NAME=VALUE", "Set an environment variable", short="e", check=check_env),
        INDEX_FLAG,
        switch("interactive", "Keep standard input open", short="i", default=True),
        switch("no-tty", "Give the program no terminal, also where this is one", short="T"),
        switch("privileged", "Give the program all capabilities"),
        switch("tty", "Give the program a terminal", short="t"),
        value("user", "NAME|UID[:GROUP]", "User the program runs as", short="u"),
        value("workdir", "PATH", "Working directory in the container", short="w"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose exec web sh", "Open a shell in a service"),
        ("kedge compose exec -T db dump | gzip > dump.gz", "Use a program's output"),
        ("kedge compose exec --index 2 worker ps", "In the second container of a service"),
    ),
    at_least=2,
    runs_program=True,
    complete="service",
)
