"""``kedge builder prune``: remove the cache of builds."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import parse_filters
from kedge.cli.options.values import parse_size
from kedge.cli.pruning import FORCE, QUESTION, agrees, filter_flag, reclaimed, removed, show
from kedge.client.http import EngineClient, Query


def _run(options: Options, client: EngineClient) -> int:
    kind = "build cache" if options.on("all") else "dangling build cache"
    if not agrees(options, f"This will remove all {kind}. {QUESTION}"):
        return OK
    query: Query = {
        "all": options.on("all"),
        "filters": parse_filters(options.texts("filter")),
        **{
            name: str(parse_size(options.text(name))) if options.given(name) else ""
            for name in ("reserved-space", "max-used-space", "min-free-space", "keep-storage")
        },
    }
    report = client.post("/build/prune", query).object()
    return show(removed(report, "CachesDeleted", "Deleted build cache objects"), reclaimed(report))


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Remove the results of build steps that are kept to make builds fast",
    flags=(
        switch("all", "Remove everything, not only what no image uses", short="a"),
        filter_flag("until=24h"),
        FORCE,
        value("reserved-space", "SIZE", "How much to keep, such as 10GB", check=parse_size),
        value("max-used-space", "SIZE", "Remove until this much is left", check=parse_size),
        value("min-free-space", "SIZE", "Remove until the disk has this free", check=parse_size),
        value("keep-storage", "SIZE", "Older name of --reserved-space", check=parse_size),
    ),
    run=_run,
    examples=(
        ("kedge builder prune -af", "Start the next build from nothing"),
        ("kedge builder prune --filter until=48h", "What no build used for two days"),
        ("kedge builder prune -af --max-used-space 5GB", "What was used longest ago"),
    ),
    at_most=0,
)
