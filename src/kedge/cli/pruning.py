"""What the prune commands share: the flags, the request, and the list of what has gone."""

from __future__ import annotations

import sys

from kedge.cli.config import load_config
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Flag, Options, many, switch
from kedge.cli.listing import check_filter, parse_filters
from kedge.lib.fields import number, objects, text, texts
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import JsonObject


FORCE: Final = switch("force", "Do not ask first", short="f")
QUESTION: Final = "Are you sure you want to continue?"


def filter_flag(example: str) -> Flag:
    """Return ``--filter`` of a prune."""
    return many(
        "filter",
        "NAME=VALUE",
        f"Remove only what fits, such as {example}",
        check=check_filter,
        complete="label=|label!=|until=",
    )


def prune_filters(options: Options) -> list[str]:
    """Return the filters of the command line and those of Docker's configuration file."""
    return [*texts(load_config(), "pruneFilters"), *options.texts("filter")]


def agrees(options: Options, warning: str) -> bool:
    """Whether ``--force`` was given, or the person says yes to what will be removed."""
    if options.on("force"):
        return True
    from kedge.cli.confirm import confirm  # noqa: PLC0415 - rarely needed

    return confirm(f"WARNING! {warning}")


def prune(client: EngineClient, kind: str, filters: Iterable[str] = ()) -> JsonObject:
    """Remove what is not used of one kind and return the engine's report."""
    return client.post(f"/{kind}/prune", {"filters": parse_filters([*filters])}).object()


def removed(report: JsonObject, field: str, heading: str) -> list[str]:
    """Return the lines about names that have gone; none where nothing has."""
    names = texts(report, field)
    return [f"{heading}:", *names, ""] if names else []


def removed_images(report: JsonObject) -> list[str]:
    """Return the lines about images that have gone; none where nothing has."""
    lines = [
        f"untagged: {text(entry, 'Untagged')}"
        if text(entry, "Untagged")
        else f"deleted: {text(entry, 'Deleted')}"
        for entry in objects(report, "ImagesDeleted")
    ]
    return ["Deleted Images:", *lines, ""] if lines else []


def show(lines: Iterable[str], reclaimed: int | None) -> int:
    """Print what has gone and how much space that gives back; return the exit code."""
    total = [] if reclaimed is None else [f"Total reclaimed space: {format_size(reclaimed)}"]
    sys.stdout.write("".join(f"{line}\n" for line in (*lines, *total)))
    return OK


def reclaimed(report: JsonObject) -> int:
    """Return the bytes a prune gave back."""
    return number(report, "SpaceReclaimed")
