"""``kedge container prune``: remove all containers that do not run."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.pruning import (
    FORCE,
    QUESTION,
    agrees,
    filter_flag,
    prune,
    prune_filters,
    reclaimed,
    removed,
    show,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    if not agrees(options, f"This will remove all stopped containers.\n{QUESTION}"):
        return OK
    report = prune(client, "containers", prune_filters(options))
    return show(removed(report, "ContainersDeleted", "Deleted Containers"), reclaimed(report))


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Remove all stopped containers",
    flags=(filter_flag("until=24h or label=KEY"), FORCE),
    run=_run,
    examples=(
        ("kedge container prune", "Ask first"),
        ("kedge container prune -f --filter until=24h", "Those made more than a day ago"),
    ),
    at_most=0,
)
