"""``kedge attach``: this terminal becomes that of a running container."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.config import configured_detach_keys
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.session import Session
from kedge.cli.wanted import Wanted, check_terminal, open_wait
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import ConflictError
from kedge.lib.fields import flag


def _run(options: Options, client: EngineClient) -> int:
    name = percent_encode(options.words[0])
    container = client.get(f"/containers/{name}/json").object()
    for state, hint in (
        ("Paused", "unpause it first"),
        ("Restarting", "wait until it is running"),
    ):
        if flag(container, "State", state):
            raise ConflictError(
                f"cannot attach to {options.words[0]}: it is {state.lower()}, {hint}"
            )
    if not flag(container, "State", "Running"):
        raise ConflictError(f"cannot attach to {options.words[0]}: it is stopped, start it first")
    stdin = flag(container, "Config", "OpenStdin") and not options.on("no-stdin")
    wanted = Wanted(stdin, True, True, flag(container, "Config", "Tty"), options.on("sig-proxy"))  # noqa: FBT003 - a record
    check_terminal(wanted)
    hijacked = client.hijack(
        f"/containers/{name}/attach",
        {
            "stream": True,
            "stdin": stdin,
            "stdout": True,
            "stderr": True,
            "detachKeys": configured_detach_keys(options),
        },
    )
    path = f"/containers/{name}"
    session = Session(
        hijacked,
        wanted,
        resize_path=f"{path}/resize",
        control=client,
        kill_path=f"{path}/kill",
        detach_keys=configured_detach_keys(options),
    )
    with session:
        waiter, read_code = open_wait(client, name, "next-exit")
        session.run()
        if session.has_detached:
            return OK
        return session.wait(waiter, read_code)


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Connect standard input, output and error to a running container",
    flags=(
        value("detach-keys", "KEYS", "Keys that detach (default ctrl-p,ctrl-q)"),
        switch("no-stdin", "Do not connect standard input"),
        switch("sig-proxy", "Pass signals on to the container", default=True),
    ),
    run=_run,
    examples=(("kedge attach web", "Follow the container and type into it; ctrl-p ctrl-q leaves"),),
    at_least=1,
    at_most=1,
    complete="running",
)
