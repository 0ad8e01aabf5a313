"""``kedge create``: make a container, leave starting it to ``kedge start``."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.containerflags import CONTAINER_FLAGS
from kedge.cli.creating import create_container
from kedge.cli.exitcodes import OK
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    sys.stdout.write(f"{create_container(options, client)}\n")
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    summary="Create a container from an image without starting it, and print its id",
    flags=CONTAINER_FLAGS,
    run=_run,
    examples=(
        ("kedge create --name job busybox sleep 60", "Prepare a container"),
        ("kedge start -a job", "Start it later, and see its output"),
    ),
    at_least=1,
    runs_program=True,
    complete="image",
)
