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
        "keep-storage": str(parse_size(options.text("keep-storage")))
        if options.given("keep-storage")
        else "",
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
        value("keep-storage", "SIZE", "How much to keep, such as 10GB", check=parse_size),
    ),
    run=_run,
    examples=(("kedge builder prune -af", "Start the next build from nothing"),),
    at_most=0,
)
