"""``kedge network prune``: remove networks no container uses."""

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
    removed,
    show,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    warning = "This will remove all custom networks not used by at least one container."
    if not agrees(options, f"{warning}\n{QUESTION}"):
        return OK
    report = prune(client, "networks", prune_filters(options))
    return show(removed(report, "NetworksDeleted", "Deleted Networks"), None)


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Remove all networks no container uses",
    flags=(filter_flag("until=24h or label=KEY"), FORCE),
    run=_run,
    examples=(("kedge network prune -f", "Without asking"),),
    at_most=0,
)
