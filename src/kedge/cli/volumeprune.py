"""``kedge volume prune``: remove volumes no container uses."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch
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

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    every = options.on("all")
    filters = prune_filters(options)
    if every and any(text.startswith("all=") for text in options.texts("filter")):
        raise UsageError("conflicting options: cannot specify both --all and --filter all=1")
    kind = "local volumes" if every else "anonymous local volumes"
    warning = f"This will remove {kind if not every else 'all ' + kind}"
    if not agrees(options, f"{warning} not used by at least one container.\n{QUESTION}"):
        return OK
    report = prune(client, "volumes", [*filters, "all=true"] if every else filters)
    return show(removed(report, "VolumesDeleted", "Deleted Volumes"), reclaimed(report))


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Remove volumes that have no name and that no container uses",
    flags=(
        switch("all", "Remove volumes with a name, too", short="a"),
        filter_flag("label=KEY"),
        FORCE,
    ),
    run=_run,
    examples=(
        ("kedge volume prune", "Volumes without a name; asks first"),
        ("kedge volume prune -a --filter label=scratch", "All unused ones with a label"),
    ),
    at_most=0,
)
