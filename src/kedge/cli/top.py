"""``kedge top``: the processes of a container."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.output import print_table
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.fields import items, texts
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


_COLUMN_MIN: Final = 20
"""As Docker's client has it here, and only here."""


def _run(options: Options, client: EngineClient) -> int:
    name, *arguments = options.words
    query = {"ps_args": " ".join(arguments)}
    answer = client.get(f"/containers/{percent_encode(name)}/top", query).object()
    rows = [texts({"": row}, "") for row in items(answer, "Processes")]
    print_table(texts(answer, "Titles"), rows, column_min=_COLUMN_MIN)
    return OK


COMMAND: Final = Command(
    usage="CONTAINER [PS_OPTIONS]",
    summary="Show the processes of a container as the host sees them",
    flags=(),
    run=_run,
    examples=(("kedge top web", "Processes of the container web"),),
    at_least=1,
    runs_program=True,
    complete="running",
)
