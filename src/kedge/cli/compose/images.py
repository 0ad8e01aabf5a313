"""``kedge compose images``: the images a project's containers were made from."""

import contextlib
import json
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers, regular
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import print_listing
from kedge.cli.moments import seconds_of
from kedge.cli.output import ago, print_lines, show_id
from kedge.client.http import EngineClient, percent_encode
from kedge.compose.observed import Container
from kedge.errdefs import InvalidParameterError, KedgeError, NotFoundError
from kedge.lib.fields import number, text, texts
from kedge.lib.jsontypes import JsonObject
from kedge.lib.units import format_size
from kedge.oci.references import parse_reference

_HEADERS: Final = {
    "ContainerName": "CONTAINER",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Platform": "PLATFORM",
    "ID": "IMAGE ID",
    "Size": "SIZE",
    "Created": "CREATED",
}


def _run(options: Options, client: EngineClient) -> int:
    _, containers = find_containers(options, client, options.words)
    containers = regular(containers)
    if options.on("quiet"):
        ids = dict.fromkeys(one.image_id.removeprefix("sha256:") for one in containers)
        print_lines(list(ids))
        return OK
    rows: list[JsonObject] = []
    for one in containers:
        record: JsonObject = {"Id": one.image_id}
        # A container outlives its image when that was removed by force.
        with contextlib.suppress(NotFoundError):
            record = client.get(f"/images/{percent_encode(one.image_id, keep=':')}/json").object()
        rows.append(_row(one, record))
    if options.text("format") == "json":
        print_lines([json.dumps(rows, ensure_ascii=False, separators=(",", ":"))])
    elif options.text("format") in {"", "table"}:
        shown = [
            row | {
                "ID": show_id(str(row["ID"]), truncate=True),
                "Size": format_size(number(row, "Size"), digits=3),
                "Created": ago(number(row, "Created")) if row["Created"] else "N/A",
            }
            for row in rows
        ]  # fmt: skip
        print_listing(shown, headers=_HEADERS, columns=tuple(_HEADERS))
    else:
        raise InvalidParameterError(f"unsupported format '{options.text('format')}': table or json")
    return OK


def _row(one: Container, record: JsonObject) -> JsonObject:
    repository, tag = _name_of(one, texts(record, "RepoTags"))
    system, machine = text(record, "Os"), text(record, "Architecture")
    variant = text(record, "Variant")
    created = text(record, "Created")
    return {
        "ID": text(record, "Id"),
        "ContainerName": one.name,
        "Repository": repository,
        "Tag": tag,
        "Platform": "/".join(part for part in (system, machine, variant) if part),
        "Size": number(record, "Size"),
        "Created": int(seconds_of(created)),
    }


def _name_of(one: Container, tags: list[str]) -> tuple[str, str]:
    """Return the name the container was made with, where the image still has it."""
    try:
        reference = parse_reference(one.image)
        wanted = f"{reference.familiar_name}:{reference.tag or 'latest'}"
    except KedgeError:
        wanted = ""
    familiar = [tag for tag in tags if tag == wanted] or tags[:1]
    if not familiar:
        return "<none>", "<none>"
    repository, _, tag = familiar[0].rpartition(":")
    return repository, tag


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="List the images the containers were made from",
    flags=(
        value("format", "FORMAT", "table or json", complete="table|json"),
        switch("quiet", "Print ids only", short="q"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose images", "Image, size and age by container"),),
    complete="service",
)
