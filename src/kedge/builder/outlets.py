"""How the results of one build leave the engine, and how its caches come in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from kedge.api.buildcaches import BuildCacheSpec
from kedge.builder.exporters.registry import Registries
from kedge.builder.exporters.sinks import Sinks
from kedge.builder.remotecache.places import CachePlace
from kedge.builder.shells import Shells
from kedge.oci.image_spec import Descriptor


class ClientStores(Protocol):
    """Folders of OCI content of the client's, which keeps their indexes itself."""

    def open_cache(self, spec: BuildCacheSpec) -> CachePlace:
        """Return a local cache to read."""
        ...

    def write_cache(
        self, spec: BuildCacheSpec, blobs: Iterable[tuple[Descriptor, Iterable[bytes]]]
    ) -> None:
        """Write the blobs of a local cache, its document last."""
        ...

    def write_image(self, blobs: Iterable[tuple[Descriptor, Iterable[bytes]]]) -> None:
        """Write the blobs of an image, its document last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """What a front door lends to a build."""

    sinks: Sinks | None = None
    """Takes outputs by their position, then local caches, in the order of ``cache_to``."""
    registries: Registries | None = None
    stores: ClientStores | None = None
    """Local caches and layouts, where they do not travel as named contexts and files."""
    shells: Shells | None = None
    """Opens a shell where a step fails."""
    shows_stages_at_once: bool = False
    """Stages report as they go, each event in an `InStage`; otherwise one after the other."""


NO_OUTLETS: Final = Outlets()
