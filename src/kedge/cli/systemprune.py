"""``kedge system prune``: remove everything of every kind that nobody uses."""

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
    removed_images,
    show,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    filters = prune_filters(options)
    if options.on("volumes") and any(text.startswith("until=") for text in filters):
        raise UsageError('the "until" filter is not supported with "--volumes"')
    if not agrees(options, _warning(options, filters)):
        return OK
    report = prune(client, "containers", filters)
    lines, total = removed(report, "ContainersDeleted", "Deleted Containers"), reclaimed(report)
    report = prune(client, "networks", filters)
    lines += removed(report, "NetworksDeleted", "Deleted Networks")
    if options.on("volumes"):
        report = prune(client, "volumes", filters)
        lines += removed(report, "VolumesDeleted", "Deleted Volumes")
        total += reclaimed(report)
    dangling = "false" if options.on("all") else "true"
    report = prune(client, "images", [*filters, f"dangling={dangling}"])
    lines += removed_images(report)
    total += reclaimed(report)
    # What belongs to no image has no labels.
    cache = [text for text in filters if text.startswith("until=")]
    report = prune(client, "build", [*cache, *(["all=true"] if options.on("all") else [])])
    lines += removed(report, "CachesDeleted", "Deleted build cache objects")
    return show(lines, total + reclaimed(report))


def _warning(options: Options, filters: list[str]) -> str:
    items = ["all stopped containers", "all networks not used by at least one container"]
    if options.on("volumes"):
        items.append("all anonymous volumes not used by at least one container")
    if options.on("all"):
        items += ["all images without at least one container associated to them"]
    else:
        items += ["all dangling images"]
    items.append("all build cache" if options.on("all") else "unused build cache")
    lines = ["This will remove:", *(f"  - {item}" for item in items), ""]
    if filters:
        lines += ["  Items to be pruned will be filtered with:"]
        lines += [*(f"  - {text}" for text in filters), ""]
    return "\n".join([*lines, QUESTION])


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Remove stopped containers, unused networks, images without a name, and build cache",
    flags=(
        switch("all", "Remove all images no container uses, also those with a name", short="a"),
        filter_flag("label=KEY or until=24h"),
        FORCE,
        switch("volumes", "Remove volumes without a name, too"),
    ),
    run=_run,
    examples=(
        ("kedge system prune", "Clean up; asks first"),
        ("kedge system prune -af --volumes", "As much as possible, without asking"),
    ),
    at_most=0,
)
