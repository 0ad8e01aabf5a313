"""``kedge compose top``: the processes of the project's containers, in one table."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.cli.output import print_table
from kedge.client.http import EngineClient
from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.fields import items, texts


def _run(options: Options, client: EngineClient) -> int:
    _, containers = find_containers(options, client, options.words)
    titles: list[str] = []
    rows: list[dict[str, str]] = []
    for one in containers:
        if not one.is_running:
            continue
        try:
            answer = client.get(f"/containers/{one.id}/top").object()
        except (ConflictError, NotFoundError):
            # It ended since it was listed.
            continue
        names = texts(answer, "Titles")
        titles += [name for name in names if name not in titles]
        number = str(one.number) if one.number else "-"
        for cells in items(answer, "Processes"):
            shown = dict(zip(names, texts({"": cells}, ""), strict=False))
            rows.append({"SERVICE": one.service, "#": number, **shown})
    if rows:
        header = ["SERVICE", "#", *titles]
        print_table(header, [[row.get(name, "-") for name in header] for row in rows], column_min=0)
    return OK


COMMAND: Final = Command(
    usage="[SERVICE...]",
    summary="Show the processes of services as the host sees them",
    flags=PROJECT_FLAGS,
    run=_run,
    examples=(("kedge compose top web", "Processes of one service"),),
    complete="service",
)
