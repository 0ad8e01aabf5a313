"""``kedge image prune``: remove images nobody needs."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.cli.pruning import (
    FORCE,
    QUESTION,
    agrees,
    filter_flag,
    prune,
    prune_filters,
    reclaimed,
    removed_images,
    show,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    every = options.on("all")
    what = (
        "all images without at least one container associated to them"
        if every
        else "all dangling images"
    )
    if not agrees(options, f"This will remove {what}.\n{QUESTION}"):
        return OK
    filters = [*prune_filters(options), f"dangling={'false' if every else 'true'}"]
    report = prune(client, "images", filters)
    return show(removed_images(report), reclaimed(report))


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Remove images without a name, or all that no container uses",
    flags=(
        switch("all", "Remove all images no container uses, also those with a name", short="a"),
        filter_flag("until=24h or label=KEY"),
        FORCE,
    ),
    run=_run,
    examples=(
        ("kedge image prune", "Images without a name"),
        ("kedge image prune -af", "All that no container uses, without asking"),
    ),
    at_most=0,
)
