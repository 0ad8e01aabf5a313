"""``kedge wait``: block until containers stop, print their exit codes."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.fields import number
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


def _run(options: Options, client: EngineClient) -> int:
    def wait(name: str) -> None:
        answer = client.post(f"/containers/{percent_encode(name)}/wait").object()
        sys.stdout.write(f"{number(answer, 'StatusCode')}\n")
        sys.stdout.flush()

    return for_each(options.words, wait, echo=False)


COMMAND: Final = Command(
    usage="CONTAINER...",
    summary="Wait until containers stop, then print their exit codes",
    flags=(),
    run=_run,
    examples=(("kedge wait job", "Wait for a container and see how it ended"),),
    at_least=1,
    complete="running",
)
