"""``kedge pause``: freeze containers where they are."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


def _run(options: Options, client: EngineClient) -> int:
    def pause(name: str) -> None:
        client.post(f"/containers/{percent_encode(name)}/pause").read()

    return for_each(options.words, pause)


COMMAND: Final = Command(
    usage="CONTAINER...",
    summary="Freeze all processes of running containers",
    flags=(),
    run=_run,
    examples=(("kedge pause web", "Freeze a container"),),
    at_least=1,
    complete="running",
)
