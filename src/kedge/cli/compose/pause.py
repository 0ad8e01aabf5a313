"""``kedge compose pause``: freeze services where they are."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.signalling import Deed, state_verb

COMMAND: Final[Command] = state_verb(
    Deed("pause", "Pausing", "Paused"),
    of="running",
    summary="Freeze all processes of services",
    example="Freeze one service",
)
