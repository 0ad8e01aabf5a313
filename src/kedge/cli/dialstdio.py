"""``kedge system dial-stdio``: the engine's socket as standard input and output, for ssh hosts."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.client.relay import relay_stdio
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.client.http import EngineClient


def _run(_options: Options, client: EngineClient) -> int:
    relay_stdio(client.take_connection())
    return OK


COMMAND: Final = Command(
    usage="",
    summary="Connect standard input and output to the engine; ssh:// hosts use it",
    flags=(),
    run=_run,
    examples=(
        ("kedge -H ssh://me@server ps", "This runs 'kedge system dial-stdio' on the server"),
    ),
    at_most=0,
)
