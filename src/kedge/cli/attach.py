"""``kedge attach``: this terminal becomes that of a running container."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.config import configured_detach_keys
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.session import Session
from kedge.cli.wanted import Wanted, check_terminal, open_wait
from kedge.client.http import EngineClient, Query, percent_encode
from kedge.errdefs import ConflictError
from kedge.lib.fields import flag
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    return attach_to(
        client,
        options.words[0],
        stdin=not options.on("no-stdin"),
        sig_proxy=options.on("sig-proxy"),
        detach_keys=configured_detach_keys(options),
    )


def attach_to(
    client: EngineClient, container: str, *, stdin: bool, sig_proxy: bool, detach_keys: str
) -> int:
    """Connect this terminal to a running container; return its exit code, 0 when detached.

    Raises:
        ConflictError: It does not run.
    """
    name = percent_encode(container)
    record = client.get(f"/containers/{name}/json").object()
    for state, hint in (
        ("Paused", "unpause it first"),
        ("Restarting", "wait until it is running"),
    ):
        if flag(record, "State", state):
            raise ConflictError(f"cannot attach to {container}: it is {state.lower()}, {hint}")
    if not flag(record, "State", "Running"):
        raise ConflictError(f"cannot attach to {container}: it is stopped, start it first")
    stdin = flag(record, "Config", "OpenStdin") and stdin
    wanted = Wanted(stdin, True, True, flag(record, "Config", "Tty"), sig_proxy)  # noqa: FBT003 - a record
    check_terminal(wanted)
    path = f"/containers/{name}"
    query: Query = {
        "stream": True, "stdin": stdin, "stdout": True, "stderr": True, "detachKeys": detach_keys,
    }  # fmt: skip
    session = Session(
        client.hijack(f"{path}/attach", query),
        wanted,
        resize_path=f"{path}/resize",
        control=client,
        kill_path=f"{path}/kill",
        detach_keys=detach_keys,
    )
    with session:
        waiter, read_code = open_wait(client, name, "next-exit")
        session.run()
        if session.has_detached:
            return OK
        return session.wait(waiter, read_code)


ATTACH_FLAGS: Final = (
    value("detach-keys", "KEYS", "Keys that detach (default ctrl-p,ctrl-q)"),
    switch("no-stdin", "Do not connect standard input"),
    switch("sig-proxy", "Pass signals on to the container", default=True),
)
COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Connect standard input, output and error to a running container",
    flags=ATTACH_FLAGS,
    run=_run,
    examples=(("kedge attach web", "Follow the container and type into it; ctrl-p ctrl-q leaves"),),
    at_least=1,
    at_most=1,
    complete="running",
)
