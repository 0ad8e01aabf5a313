"""``kedge exec``: another program in a running container."""

import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.config import configured_detach_keys
from kedge.cli.exitcodes import OK, code_of_failed_run
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.options.environment import check_env, parse_env, read_key_values
from kedge.cli.wanted import Wanted, check_terminal
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import KedgeError
from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject


def _run(options: Options, client: EngineClient) -> int:
    name, *command = options.words
    tty, detached = options.on("tty"), options.on("detach")
    wanted = Wanted(options.on("interactive"), True, True, tty)  # noqa: FBT003 - a record
    if not detached:
        check_terminal(wanted)
    env = [parse_env(pair, os.environ.get) for pair in options.texts("env")]
    request: JsonObject = {
        "AttachStdin": not detached and wanted.stdin,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
        "Tty": tty,
        "Cmd": [*command],
        "Env": [*read_key_values(options.texts("env-file"), env, os.environ.get)],
        "User": options.text("user"),
        "WorkingDir": options.text("workdir"),
        "Privileged": options.on("privileged"),
        "DetachKeys": configured_detach_keys(options),
    }
    if tty and not detached:
        from kedge.client.terminal import terminal_size  # noqa: PLC0415 - only with a terminal

        size = terminal_size()
        if size:
            request["ConsoleSize"] = [*size]
    created = client.post(f"/containers/{percent_encode(name)}/exec", None, request).object()
    exec_id = text(created, "Id")
    try:
        if detached:
            client.post(f"/exec/{exec_id}/start", None, {"Detach": True, "Tty": tty}).read()
            return OK
        return _attach(client, exec_id, wanted, request)
    except KedgeError as error:
        sys.stderr.write(f"kedge: cannot run {command[0]} in {name}: {error}\n")
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
