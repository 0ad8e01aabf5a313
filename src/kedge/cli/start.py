"""``kedge start``: start stopped containers, or one of them with this terminal attached."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.config import configured_detach_keys
from kedge.cli.each import for_each
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.cli.wanted import Wanted, check_terminal, open_wait
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import NotModifiedError
from kedge.lib.fields import flag
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    if not (options.on("attach") or options.on("interactive")):
        return for_each(options.words, lambda name: _start(client, name, options))
    if len(options.words) > 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    from kedge.cli.session import Session  # noqa: PLC0415 - only here

    name = percent_encode(options.words[0])
    container = client.get(f"/containers/{name}/json").object()
    tty = flag(container, "Config", "Tty")
    stdin = options.on("interactive") and flag(container, "Config", "OpenStdin")
    wanted = Wanted(stdin, True, True, tty, options.on("sig-proxy"))  # noqa: FBT003 - a record
    check_terminal(wanted)
    path = f"/containers/{name}"
    hijacked = client.hijack(
        f"{path}/attach",
        {
            "stream": True,
            "stdin": stdin,
            "stdout": True,
            "stderr": True,
            "detachKeys": configured_detach_keys(options),
        },
    )
    session = Session(
        hijacked,
        wanted,
        resize_path=f"{path}/resize",
        control=client,
        kill_path=f"{path}/kill",
        detach_keys=configured_detach_keys(options),
    )
    with session:
        removes = flag(container, "HostConfig", "AutoRemove")
        waiter, read_code = open_wait(client, name, "removed" if removes else "next-exit")
        _start(client, options.words[0], options)
        session.run()
        if session.has_detached:
            return OK
        return session.wait(waiter, read_code)


def _start(client: EngineClient, name: str, options: Options) -> None:
    try:
        query = {"detachKeys": configured_detach_keys(options)}
        client.post(f"/containers/{percent_encode(name)}/start", query).read()
    except NotModifiedError:
        # It runs already, which is what was asked for.
        return


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER...",
    summary="Start containers that were created or have stopped",
    flags=(
        switch(
            "attach", "Show the output, pass signals on, and take over the exit code", short="a"
        ),
        switch("interactive", "Connect standard input", short="i"),
        switch("sig-proxy", "Pass signals on to the container", default=True),
        value("detach-keys", "KEYS", "Keys that detach (default ctrl-p,ctrl-q)"),
    ),
    run=_run,
    examples=(
        ("kedge start web db", "Start two containers"),
        ("kedge start -ai shell", "Start one and use it"),
    ),
    at_least=1,
    complete="stopped",
)
