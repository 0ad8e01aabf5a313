"""``kedge context rm``: forget engines."""

import os
from typing import Final

from kedge.cli.command import Command
from kedge.cli.config import change_config
from kedge.cli.contexts import DEFAULT, context_exists, remove_context
from kedge.cli.each import for_each
from kedge.cli.flags import Options, switch
from kedge.cli.target import current_context
from kedge.client.http import EngineClient
from kedge.errdefs import ConflictError, InvalidParameterError


def _run(options: Options, _client: EngineClient) -> int:
    force = options.on("force")

    def remove(name: str) -> None:
        if name == DEFAULT:
            raise InvalidParameterError('context "default" cannot be removed')
        if force and not context_exists(name):
            return
        is_current = name == current_context(os.environ)
        if is_current and not force:
            raise ConflictError(f'context "{name}" is in use, set -f flag to force remove')
        remove_context(name)
        if is_current:
            change_config("currentContext", "")

    return for_each(options.words, remove)


COMMAND: Final = Command(
    usage="[OPTIONS] CONTEXT...",
    summary="Forget contexts; their engines stay as they are",
    flags=(switch("force", "Also the context in use", short="f"),),
    run=_run,
    examples=(("kedge context rm lab", "Forget one"),),
    at_least=1,
    needs_engine=False,
    needs_host=False,
    complete="context",
)
