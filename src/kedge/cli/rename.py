"""``kedge rename``: another name for a container."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


def _run(options: Options, client: EngineClient) -> int:
    old, new = options.words
    client.post(f"/containers/{percent_encode(old)}/rename", {"name": new}).read()
    return OK


COMMAND: Final = Command(
    usage="CONTAINER NEW_NAME",
    summary="Give a container another name",
    flags=(),
    run=_run,
    examples=(("kedge rename web web-old", "Make room for a new container called web"),),
    at_least=2,
    at_most=2,
    complete="container",
)
