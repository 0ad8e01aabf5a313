"""``kedge rename``: another name for a container."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.client.http import EngineClient, percent_encode


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
