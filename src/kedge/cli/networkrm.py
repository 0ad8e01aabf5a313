"""``kedge network rm``: remove networks."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import NotFoundError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    def remove(name: str) -> None:
        try:
            client.delete(f"/networks/{percent_encode(name)}").read()
        except NotFoundError:
            # With -f a network that is already gone is no failure, as for rm(1).
            if not options.on("force"):
                raise

    return for_each(options.words, remove)


COMMAND: Final = Command(
    usage="[OPTIONS] NETWORK...",
    summary="Remove networks that no container is on",
    flags=(switch("force", "Do not mind networks that do not exist", short="f"),),
    run=_run,
    examples=(("kedge network rm app", "Remove a network"),),
    at_least=1,
    complete="network",
)
