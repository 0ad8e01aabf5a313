"""``kedge kill``: a signal to the main process of containers."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.cli.flags import Options, value
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    def kill(name: str) -> None:
        query = {"signal": options.text("signal")}
        client.post(f"/containers/{percent_encode(name)}/kill", query).read()

    return for_each(options.words, kill)


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER...",
    summary="Send a signal to running containers, SIGKILL unless told otherwise",
    flags=(
        value(
            "signal",
            "SIGNAL",
            "Signal by name or number",
            short="s",
            complete="KILL|TERM|HUP|INT|USR1|USR2",
        ),
    ),
    run=_run,
    examples=(
        ("kedge kill web", "End a container at once"),
        ("kedge kill -s HUP web", "Make a server read its settings again"),
    ),
    at_least=1,
    complete="running",
)
