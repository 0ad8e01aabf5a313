"""``kedge context show``: the name of the context in use."""

import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.cli.target import current_context
from kedge.client.http import EngineClient


def _run(_options: Options, _client: EngineClient) -> int:
    sys.stdout.write(f"{current_context(os.environ)}\n")
    return OK


COMMAND: Final = Command(
    usage="",
    summary="Print the name of the context in use",
    flags=(),
    run=_run,
    examples=(("kedge context show", "Which engine am I talking to?"),),
    at_most=0,
    needs_engine=False,
    needs_host=False,
)
