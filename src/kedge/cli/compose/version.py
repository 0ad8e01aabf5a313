"""``kedge compose version``: of this implementation of the Compose Specification."""

import json
from typing import Final

from kedge import __version__
from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.cli.output import print_lines
from kedge.client.http import EngineClient


def _run(options: Options, _client: EngineClient) -> int:
    if options.text("format") not in {"pretty", "json"}:
        raise UsageError(f"unsupported format '{options.text('format')}': pretty or json")
    if options.on("short"):
        print_lines([__version__])
    elif options.text("format") == "json":
        print_lines([json.dumps({"version": __version__}, separators=(",", ":"))])
    else:
        print_lines([f"kedge compose version {__version__}"])
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Show the version",
    flags=(
        value("format", "FORMAT", "pretty or json", short="f", default="pretty",
              complete="pretty|json"),
        switch("short", "Print the number only"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose version --short", "The number alone"),),
    at_most=0,
    needs_engine=False,
    needs_host=False,
)  # fmt: skip
