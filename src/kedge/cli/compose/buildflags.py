"""What the command line adds to every build of an application."""

from collections.abc import Mapping
from typing import NamedTuple


class BuildFlags(NamedTuple):
    """What the command line adds to every build."""

    no_cache: bool = False
    pull: bool = False
    memory_bytes: int = 0
    arguments: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    quiet: bool = False
