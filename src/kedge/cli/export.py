"""``kedge export``: a container's files as a tar archive."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.cli.sink import check_sink, write_sink
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    output = options.text("output")
    check_sink(output, "export")
    response = client.get(f"/containers/{percent_encode(options.words[0])}/export")
    write_sink(output, response.chunks())
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Write a container's files as a tar archive",
    flags=(
        value("output", "FILE", "Write to a file, not to standard output", short="o",
              complete="file"),
    ),
    run=_run,
    examples=(
        ("kedge export -o web.tar web", "All files of a container"),
        ("kedge export web | tar tv", "List them"),
    ),
    at_least=1,
    at_most=1,
    complete="container",
)  # fmt: skip
