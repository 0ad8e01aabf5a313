"""``kedge unpause``: let paused containers go on."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


def _run(options: Options, client: EngineClient) -> int:
    def unpause(name: str) -> None:
        client.post(f"/containers/{percent_encode(name)}/unpause").read()

    return for_each(options.words, unpause)


COMMAND: Final = Command(
    usage="CONTAINER...",
    summary="Let all processes of paused containers go on",
    flags=(),
    run=_run,
    examples=(("kedge unpause web", "Let a container go on"),),
    at_least=1,
    complete="paused",
)
