"""``kedge compose unpause``: let paused services go on."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.signalling import Deed, state_verb

COMMAND: Final[Command] = state_verb(
    Deed("unpause", "Unpausing", "Unpaused"),
    of="paused",
    summary="Let paused services go on",
    example="Let one service go on",
)
