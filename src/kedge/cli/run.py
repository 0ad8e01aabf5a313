"""``kedge run``: create, attach, wait, start; then the container's exit code is ours."""

from __future__ import annotations

import sys

from kedge.cli.attachedrun import run_attached
from kedge.cli.command import Command
from kedge.cli.config import configured_detach_keys
from kedge.cli.containerflags import CONTAINER_FLAGS
from kedge.cli.createrequest import attached_streams
from kedge.cli.creating import create_container
from kedge.cli.exitcodes import OK, USAGE, code_of_failed_run
from kedge.cli.flags import Options, UsageError, grouped, switch, value
from kedge.cli.wanted import Wanted, check_terminal
from kedge.errdefs import KedgeError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from kedge.client.http import EngineClient, Response


_FLAGS: Final = (
    switch("detach", "Run in the background and print the container's id", short="d"),
    *CONTAINER_FLAGS,
    *grouped(
        "Attaching",
        switch("sig-proxy", "Pass signals on to the container", default=True),
        value("detach-keys", "KEYS", "Keys that detach from the container (default ctrl-p,ctrl-q)"),
    ),
)


def _run(options: Options, client: EngineClient) -> int:
    detached = options.on("detach")
    if detached and options.given("attach"):
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
    stdin, stdout, stderr = attached_streams(options)
    if detached or not (stdin or stdout or stderr):
        container = create_container(options, client)
        finish_start = client.begin_post(f"/containers/{container}/start")
        code = _check_start(finish_start, options, container)
        if code == OK:
            sys.stdout.write(f"{container}\n")
        return code
    wanted = Wanted(stdin, stdout, stderr, options.on("tty"), options.on("sig-proxy"))
    check_terminal(wanted)
    container = create_container(options, client)
    try:
        return run_attached(
            client,
            container,
            wanted,
            remove=options.on("rm"),
            detach_keys=configured_detach_keys(options),
            check_start=lambda finish: _check_start(finish, options, container),
        )
    except KeyboardInterrupt:
        if options.on("rm"):
            _remove(client, container)
        raise


def _check_start(finish_start: Callable[[], Response], options: Options, container: str) -> int:
    try:
        finish_start().read()
    except KedgeError as error:
        named = options.text("name") or container[:12]
        image = options.words[0]
        sys.stderr.write(f"kedge: container {named} of image {image} does not start: {error}\n")
        return code_of_failed_run(str(error))
    return OK


def _remove(client: EngineClient, container: str) -> None:
    try:
        client.close()
        client.delete(f"/containers/{container}", {"force": True, "v": True}).read()
    except KedgeError:
        # The engine has removed it already.
        return


COMMAND: Final = Command(
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    summary="Run a command in a new container; its exit code becomes this command's",
    flags=_FLAGS,
    run=_run,
    examples=(
        ("kedge run --rm busybox echo hello", "Run one command and clean up"),
        ("kedge run --rm -it busybox sh", "Look around in a shell"),
        ("kedge run -d -p 8080:80 --name web nginx", "Serve port 80 of the container at port 8080"),
        ("kedge run --rm -v ./data:/data -m 256m busybox ls /data", "Share a folder, limit memory"),
    ),
    at_least=1,
    runs_program=True,
    failure_code=USAGE,
    complete="image",
)
