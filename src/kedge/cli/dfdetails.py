"""``kedge system df -v``: a table for images, containers, volumes and the build cache each."""

from __future__ import annotations

import sys

from kedge.cli.images import image_rows
from kedge.cli.listing import print_listing
from kedge.cli.output import ago, show_id
from kedge.cli.ps import container_row
from kedge.cli.volumels import volume_row
from kedge.lib.fields import flag, mapping, number, objects, text
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_size

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


_IMAGES: Final = {
    "Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED",
    "Size": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}  # fmt: skip
_CONTAINERS: Final = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE", "RunningFor": "CREATED", "Status": "STATUS", "Names": "NAMES",
}  # fmt: skip
_VOLUMES: Final = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
_CACHE: Final = {
    "ID": "CACHE ID", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED", "UsageCount": "USAGE", "Shared": "SHARED",
}  # fmt: skip


def details(usage: JsonObject) -> JsonObject:
    """Return the rows of the four tables by Docker's names."""
    tables: dict[str, list[JsonObject]] = {
        "Images": _images(usage),
        "Containers": [_container(c) for c in objects(usage, "Containers")],
        "Volumes": [_volume(volume) for volume in objects(usage, "Volumes")],
        "BuildCache": [_cache_entry(entry) for entry in objects(usage, "BuildCache")],
    }
    return {name: [_shown(row) for row in rows] for name, rows in tables.items()}


def _shown(row: JsonObject) -> Json:
    return {name: content for name, content in row.items() if isinstance(content, str)}


def show_details(usage: JsonObject) -> None:
    """Print the four tables."""
    rows = details(usage)
    cache = sum(
        number(entry, "Size") for entry in objects(usage, "BuildCache") if not flag(entry, "Shared")
    )
    for name, heading, headers in (
        ("Images", "Images space usage:", _IMAGES),
        ("Containers", "Containers space usage:", _CONTAINERS),
        ("Volumes", "Local Volumes space usage:", _VOLUMES),
        ("BuildCache", f"Build cache usage: {format_size(cache)}", _CACHE),
    ):
        sys.stdout.write(f"{heading}\n\n")
        print_listing(objects(rows, name), headers=headers, columns=tuple(headers))
        if name != "BuildCache":
            sys.stdout.write("\n")


def _images(usage: JsonObject) -> list[JsonObject]:
    rows: list[JsonObject] = []
    for image in objects(usage, "Images"):
        shared, size = number(image, "SharedSize"), number(image, "Size")
        sizes: JsonObject = {
            "SharedSize": format_size(shared) if shared >= 0 else "N/A",
            "UniqueSize": format_size(size - shared) if shared >= 0 else "N/A",
            "Size": format_size(size, digits=3),
        }
        rows += [row | sizes for row in image_rows(image, truncate=True, digests=False)[:1]]
    return rows


def _container(container: JsonObject) -> JsonObject:
    size = format_size(number(container, "SizeRw"), digits=3)
    return container_row(container, truncate=True) | {"Size": size}


def _volume(volume: JsonObject) -> JsonObject:
    usage = mapping(volume, "UsageData")
    sizes: JsonObject = {
        "Links": str(number(usage, "RefCount")),
        "Size": format_size(number(usage, "Size")) if number(usage, "Size") >= 0 else "N/A",
    }
    return volume_row(volume) | (sizes if usage else {})


def _cache_entry(entry: JsonObject) -> JsonObject:
    from kedge.cli.moments import seconds_of  # noqa: PLC0415 - only with a build cache

    used = text(entry, "LastUsedAt")
    return {
        "ID": show_id(text(entry, "ID"), truncate=True),
        "CacheType": text(entry, "Type"),
        "Description": text(entry, "Description"),
        "Size": format_size(number(entry, "Size"), digits=3),
        "CreatedSince": ago(seconds_of(text(entry, "CreatedAt"))),
        "LastUsedSince": ago(seconds_of(used)) if used else "",
        "UsageCount": str(number(entry, "UsageCount")),
        "InUse": "true" if flag(entry, "InUse") else "false",
        "Shared": "true" if flag(entry, "Shared") else "false",
    }
