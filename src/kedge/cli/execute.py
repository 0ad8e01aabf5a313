"""``kedge exec``: another program in a running container."""

from __future__ import annotations

import os
import sys

from kedge.cli.command import Command
from kedge.cli.config import configured_detach_keys
from kedge.cli.exitcodes import OK, code_of_failed_run
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.options.environment import check_env, parse_env, read_key_values
from kedge.cli.wanted import Wanted, check_terminal
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import KedgeError
from kedge.lib.fields import number, text
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


class Program(NamedTuple):
    """A program to run in a container."""

    container: str
    command: tuple[str, ...]
    wanted: Wanted
    detached: bool = False
    env: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""
    privileged: bool = False
    detach_keys: str = ""


def _run(options: Options, client: EngineClient) -> int:
    name, *command = options.words
    env = [parse_env(pair, os.environ.get) for pair in options.texts("env")]
    program = Program(
        name,
        tuple(command),
        Wanted(options.on("interactive"), True, True, options.on("tty")),  # noqa: FBT003 - a record
        detached=options.on("detach"),
        env=tuple(read_key_values(options.texts("env-file"), env, os.environ.get)),
        user=options.text("user"),
        directory=options.text("workdir"),
        privileged=options.on("privileged"),
        detach_keys=configured_detach_keys(options),
    )
    return execute_in(client, program)


def execute_in(client: EngineClient, program: Program) -> int:
    """Run a program in a container, connected to this terminal; return its exit code.

    Raises:
        InvalidParameterError: A terminal is wanted, and input is none.
        KedgeError: There is no such container, or it does not run.
    """
    wanted, detached = program.wanted, program.detached
    if not detached:
        check_terminal(wanted)
    request: JsonObject = {
        "AttachStdin": not detached and wanted.stdin,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
        "Tty": wanted.tty,
        "Cmd": [*program.command],
        "Env": [*program.env],
        "User": program.user,
        "WorkingDir": program.directory,
        "Privileged": program.privileged,
        "DetachKeys": program.detach_keys,
    }
    if wanted.tty and not detached:
        from kedge.client.terminal import terminal_size  # noqa: PLC0415 - only with a terminal

        size = terminal_size()
        if size:
            request["ConsoleSize"] = [*size]
    name = program.container
    created = client.post(f"/containers/{percent_encode(name)}/exec", None, request).object()
    exec_id = text(created, "Id")
    try:
        if detached:
            start = {"Detach": True, "Tty": wanted.tty}
            client.post(f"/exec/{exec_id}/start", None, {**start}).read()
            return OK
        return _attach(client, exec_id, wanted, request)
    except KedgeError as error:
        sys.stderr.write(f"kedge: cannot run {program.command[0]} in {name}: {error}\n")
        code = code_of_failed_run(str(error))
        return code if code in {126, 127} else 1


def _attach(client: EngineClient, exec_id: str, wanted: Wanted, request: JsonObject) -> int:
    from kedge.cli.session import Session  # noqa: PLC0415 - not with -d

    start: JsonObject = {"Detach": False, "Tty": wanted.tty}
    if "ConsoleSize" in request:
        start["ConsoleSize"] = request["ConsoleSize"]
    hijacked = client.hijack(f"/exec/{exec_id}/start", None, start)
    session = Session(hijacked, wanted, resize_path=f"/exec/{exec_id}/resize", control=client)
    with session:
        session.run()
    return number(client.get(f"/exec/{exec_id}/json").object(), "ExitCode")


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    summary="Run another program in a running container; its exit code becomes this command's",
    flags=(
        switch("detach", "Run in the background", short="d"),
        switch("interactive", "Keep standard input open", short="i"),
        switch("tty", "Give the program a terminal", short="t"),
        many("env", "NAME=VALUE", "Set an environment variable", short="e", check=check_env),
        many("env-file", "FILE", "Read environment variables from a file", complete="file"),
        value("user", "NAME|UID[:GROUP]", "User the program runs as", short="u"),
        value("workdir", "PATH", "Working directory in the container", short="w"),
        switch("privileged", "Give the program all capabilities"),
        value("detach-keys", "KEYS", "Keys that detach (default ctrl-p,ctrl-q)"),
    ),
    run=_run,
    examples=(
        ("kedge exec web ps", "Run one command in the container web"),
        ("kedge exec -it web sh", "Open a shell in it"),
        ("kedge exec -u nobody -e DEBUG=1 web id", "As another user, with a variable"),
    ),
    at_least=2,
    runs_program=True,
    complete="running",
)
