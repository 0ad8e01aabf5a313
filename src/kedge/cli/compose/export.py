"""``kedge compose export``: a service's files as a tar archive."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_one
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.cli.sink import check_sink, write_sink
from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    output = options.text("output")
    check_sink(output, "export")
    container = find_one(options, client, options.words[0], running=False)
    write_sink(output, client.get(f"/containers/{container.id}/export").chunks())
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE",
    summary="Write the files of a service's container as a tar archive",
    flags=(
        INDEX_FLAG,
        value("output", "FILE", "Write to a file, not to standard output", short="o",
              complete="file"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose export -o web.tar web", "All files of a service"),),
    at_least=1,
    at_most=1,
    complete="service",
)  # fmt: skip
