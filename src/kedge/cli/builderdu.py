"""``kedge builder du``: what is remembered of builds, and what it takes."""

import sys
from collections.abc import Iterable
from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, many, switch, value
from kedge.cli.listing import check_filter, print_listing
from kedge.cli.moments import seconds_of
from kedge.cli.output import ago
from kedge.client.http import EngineClient
from kedge.lib.fields import flag, number, objects, text
from kedge.lib.jsontypes import JsonObject
from kedge.lib.units import format_size

_HEADERS: Final = {
    "ID": "ID",
    "Reclaimable": "RECLAIMABLE",
    "Size": "SIZE",
    "LastAccessed": "LAST ACCESSED",
    "Uses": "USES",
    "Description": "DESCRIPTION",
}
_FACTS: Final = {"type": "Type", "id": "ID", "description": "Description"}
_SHOWN: Final = 60


def _run(options: Options, client: EngineClient) -> int:
    usage = client.get("/system/df", {"type": "build-cache"}).object()
    entries = [
        entry for entry in objects(usage, "BuildCache") if _fits(entry, options.texts("filter"))
    ]
    whole = options.on("verbose")
    print_listing(
        [_row(entry, whole=whole) for entry in entries],
        headers=_HEADERS,
        columns=tuple(_HEADERS),
        template=options.text("format"),
    )
    if not options.text("format"):
        _print_sums(entries)
    return OK


def _fits(entry: JsonObject, filters: Iterable[str]) -> bool:
    for item in filters:
        name, _, wanted = item.partition("=")
        if name in _FACTS:
            found = text(entry, _FACTS[name])
            if found != wanted and not (name != "type" and wanted and wanted in found):
                return False
        elif name in {"inuse", "shared"}:
            key = "InUse" if name == "inuse" else "Shared"
            if flag(entry, key) != (wanted in {"", "1", "true"}):
                return False
        else:
            raise UsageError(f"no filter {name}: use id, type, description, inuse or shared")
    return True


def _row(entry: JsonObject, *, whole: bool) -> JsonObject:
    description = text(entry, "Description")
    used = text(entry, "LastUsedAt")
    return {
        "ID": text(entry, "ID"),
        "Reclaimable": "false" if flag(entry, "InUse") or flag(entry, "Shared") else "true",
        "Size": format_size(number(entry, "Size")),
        "LastAccessed": ago(seconds_of(used)) if used else "",
        "Uses": str(number(entry, "UsageCount")),
        "Description": description if whole else description[:_SHOWN],
    }


def _print_sums(entries: list[JsonObject]) -> None:
    sums = {
        "Shared": sum(number(entry, "Size") for entry in entries if flag(entry, "Shared")),
        "Reclaimable": sum(
            number(entry, "Size")
            for entry in entries
            if not flag(entry, "Shared") and not flag(entry, "InUse")
        ),
        "Total": sum(number(entry, "Size") for entry in entries),
    }
    sys.stdout.write("".join(f"{name}:\t{format_size(size)}\n" for name, size in sums.items()))


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Show what is remembered of builds, and how much disk it takes",
    flags=(
        many("filter", "NAME=VALUE", "Show what fits, such as type=regular", check=check_filter),
        switch("verbose", "Show whole instructions"),
        value("format", "TEMPLATE", "Show each as a Go template, or json"),
    ),
    run=_run,
    examples=(
        ("kedge builder du", "Every remembered step and cache mount"),
        ("kedge builder du --filter type=exec.cachemount", "Cache mounts alone"),
    ),
    at_most=0,
)
