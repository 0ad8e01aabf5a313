"""What the command line adds to every build of an application."""

from collections.abc import Mapping
from typing import NamedTuple


class BuildFlags(NamedTuple):
    """What the command line adds to every build."""

    no_cache: bool = False
    pull: bool = False
    memory: str = ""
    arguments: Mapping[str, str] = {}
    agents: tuple[str, ...] = ()
    provenance: str = ""
    sbom: str = ""
    quiet: bool = False
