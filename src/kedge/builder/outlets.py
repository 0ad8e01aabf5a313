"""How the results of one build leave the engine, and how its caches come in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kedge.api.buildcaches import BuildCacheSpec
from kedge.builder.exporters.registry import Registries
from kedge.builder.exporters.sinks import Sinks
from kedge.builder.remotecache.places import CachePlace
from kedge.builder.shells import Shells


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """What a front door lends to a build."""

    sinks: Sinks | None = None
    """Takes outputs by their position, then local caches, in the order of ``cache_to``."""
    registries: Registries | None = None
    open_local: Callable[[BuildCacheSpec], CachePlace] | None = None
    """Opens a local cache, where it is no folder among the named contexts."""
    shells: Shells | None = None
    """Opens a shell where a step fails."""


NO_OUTLETS: Final = Outlets()
