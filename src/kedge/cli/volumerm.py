"""``kedge volume rm``: remove volumes and what is in them."""

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
    force = options.on("force")

    def remove(name: str) -> None:
        try:
            client.delete(f"/volumes/{percent_encode(name)}", {"force": force}).read()
        except NotFoundError:
            # With -f a volume that is already gone is no failure, as for rm(1).
            if not force:
                raise

    return for_each(options.words, remove)


COMMAND: Final = Command(
    usage="[OPTIONS] VOLUME...",
    summary="Remove volumes and what is in them; one that a container uses stays",
    flags=(switch("force", "Do not mind volumes that do not exist", short="f"),),
    run=_run,
    examples=(("kedge volume rm data", "Remove a volume for good"),),
    at_least=1,
    complete="volume",
)
