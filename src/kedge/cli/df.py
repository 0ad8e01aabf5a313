"""``kedge system df``: what uses how much disk space, in sums or one by one."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import print_listing, to_json
from kedge.lib.fields import flag, number, objects, text
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_size

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import JsonObject


_HEADERS: Final = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def _run(options: Options, client: EngineClient) -> int:
    usage = client.get("/system/df").object()
    if options.on("verbose"):
        from kedge.cli.dfdetails import details, show_details  # noqa: PLC0415 - rarely needed

        template = options.text("format")
        if template == "json":
            sys.stdout.write(f"{to_json(details(usage))}\n")
        elif template and template != "table":
            from kedge.cli.template import Template  # noqa: PLC0415 - rarely needed

            sys.stdout.write(f"{Template(template).render(details(usage))}\n")
        else:
            show_details(usage)
        return OK
    rows = [_images(usage), _containers(usage), _volumes(usage), _build_cache(usage)]
    print_listing(rows, headers=_HEADERS, columns=tuple(_HEADERS), template=options.text("format"))
    return OK


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> JsonObject:
    percent = f" ({100 * reclaimable // size}%)" if size > 0 else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": format_size(size),
        "Reclaimable": f"{format_size(reclaimable)}{percent}",
    }


def _images(usage: JsonObject) -> JsonObject:
    images = objects(usage, "Images")
    size = number(usage, "LayersSize")
    used = sum(
        number(image, "Size") - max(number(image, "SharedSize"), 0)
        for image in images
        if number(image, "Containers") > 0
    )
    active = sum(number(image, "Containers") > 0 for image in images)
    return _row("Images", len(images), active, size, max(size - used, 0))


def _containers(usage: JsonObject) -> JsonObject:
    containers = objects(usage, "Containers")
    active = [c for c in containers if text(c, "State") in {"running", "paused", "restarting"}]
    size = sum(number(container, "SizeRw") for container in containers)
    in_use = sum(number(container, "SizeRw") for container in active)
    return _row("Containers", len(containers), len(active), size, size - in_use)


def _volumes(usage: JsonObject) -> JsonObject:
    volumes = objects(usage, "Volumes")
    active = [volume for volume in volumes if number(volume, "UsageData", "RefCount") > 0]
    size = sum(max(number(volume, "UsageData", "Size"), 0) for volume in volumes)
    in_use = sum(max(number(volume, "UsageData", "Size"), 0) for volume in active)
    return _row("Local Volumes", len(volumes), len(active), size, size - in_use)


def _build_cache(usage: JsonObject) -> JsonObject:
    entries = objects(usage, "BuildCache")
    active = [entry for entry in entries if flag(entry, "InUse")]
    size = sum(number(entry, "Size") for entry in entries if not flag(entry, "Shared"))
    in_use = sum(number(entry, "Size") for entry in active if not flag(entry, "Shared"))
    row = _row("Build Cache", len(entries), len(active), size, size - in_use)
    # Docker tells no share here.
    return row | {"Reclaimable": format_size(size - in_use)}


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Show how much disk space images, containers, volumes and the build cache use",
    flags=(
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("verbose", "Show each image, container and volume", short="v"),
    ),
    run=_run,
    examples=(
        ("kedge system df", "Where the disk space went"),
        ("kedge system df -v", "The same, one by one"),
    ),
    at_most=0,
)
