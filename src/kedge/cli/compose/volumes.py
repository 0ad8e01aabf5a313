"""``kedge compose volumes``: the volumes of a project."""

import json
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import print_listing
from kedge.cli.volumels import HEADERS, volume_row
from kedge.client.http import EngineClient
from kedge.compose import labels
from kedge.lib.fields import objects, text


def _run(options: Options, client: EngineClient) -> int:
    app, containers = find_containers(options, client, options.words)
    filters = json.dumps({"label": labels.project_filter(app.name)})
    volumes = objects(client.get("/volumes", {"filters": filters}).object(), "Volumes")
    if options.words:
        used = {text(mount, "Name") for one in containers for mount in one.mounts}
        volumes = [one for one in volumes if text(one, "Name") in used]
    print_listing(
        [volume_row(one) for one in sorted(volumes, key=lambda one: text(one, "Name"))],
        headers=HEADERS,
        columns=("Driver", "Name"),
        template=options.text("format"),
        quiet="Name" if options.on("quiet") else "",
    )
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="List the project's volumes, or those its services use",
    flags=(
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("quiet", "Print names only", short="q"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose volumes db", "Volumes of one service"),),
    complete="service",
)
