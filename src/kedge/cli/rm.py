"""``kedge rm``: remove containers."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import NotFoundError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    query = {
        "force": options.on("force"),
        "v": options.on("volumes"),
        "link": options.on("link"),
    }

    def remove(name: str) -> None:
        try:
            client.delete(f"/containers/{percent_encode(name)}", query).read()
        except NotFoundError as error:
            # With -f a container that is already gone is no failure, as for rm(1).
            if not options.on("force"):
                raise
            sys.stderr.write(f"kedge: {error}\n")
            return
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()

    return for_each(options.words, remove, echo=False)


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER...",
    summary="Remove containers and what they wrote",
    flags=(
        switch("force", "Kill running containers first", short="f"),
        switch("volumes", "Remove their anonymous volumes, too", short="v"),
        switch("link", "Remove the link, not the container", short="l"),
    ),
    run=_run,
    examples=(
        ("kedge rm web", "Remove a stopped container"),
        ("kedge rm -f $(kedge ps -aq)", "Remove all containers, running or not"),
    ),
    at_least=1,
    complete="container",
)
