"""``kedge diff``: files that are new, changed or gone in a container."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.cli.listing import print_listing
from kedge.cli.output import print_lines
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.fields import number, text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_KINDS: Final = ("C", "A", "D")
_HEADERS: Final = {"Type": "CHANGE TYPE", "Path": "PATH"}


def _run(options: Options, client: EngineClient) -> int:
    name = percent_encode(options.words[0])
    changes = client.get(f"/containers/{name}/changes").objects()
    if not options.text("format"):
        print_lines([f"{_KINDS[number(c, 'Kind')]} {text(c, 'Path')}" for c in changes])
        return OK
    print_listing(
        [{"Type": _KINDS[number(c, "Kind")], "Path": text(c, "Path")} for c in changes],
        headers=_HEADERS,
        columns=("Type", "Path"),
        template=options.text("format"),
    )
    return OK


COMMAND: Final = Command(
    usage="CONTAINER",
    summary="Show files that were added (A), changed (C) or deleted (D) in a container",
    flags=(value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),),
    run=_run,
    examples=(("kedge diff web", "What the container wrote"),),
    at_least=1,
    at_most=1,
    complete="container",
)
