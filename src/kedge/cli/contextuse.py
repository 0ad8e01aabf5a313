"""``kedge context use``: talk to another engine from now on."""

import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.config import change_config
from kedge.cli.contexts import DEFAULT, load_context
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.cli.target import overriding_variable
from kedge.client.http import EngineClient


def _run(options: Options, _client: EngineClient) -> int:
    name = options.words[0]
    if name != DEFAULT:
        load_context(name)
    change_config("currentContext", "" if name == DEFAULT else name)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f'Current context is now "{name}"\n')
    variable = overriding_variable(os.environ)
    if variable and name != DEFAULT:
        sys.stderr.write(
            f"Warning: {variable} environment variable overrides the active context. "
            f'To use "{name}", either set the global --context flag, or unset '
            f"{variable} environment variable.\n"
        )
    return OK


COMMAND: Final = Command(
    usage="CONTEXT",
    summary="Use a context from now on, with kedge and with Docker's client",
    flags=(),
    run=_run,
    examples=(
        ("kedge context use box", "All commands go to box"),
        ("kedge context use default", "Back to this host"),
    ),
    at_least=1,
    at_most=1,
    needs_engine=False,
    needs_host=False,
    complete="context",
)
