"""``--cache-from``: steps that another engine, or this one before, has carried out.

A cache is only asked when this engine does not know a step. A hit fetches that one layer, verifies
it against its diff_id, and remembers it as if the step had run here. A cache that cannot be read
costs a warning, never the build.
"""

import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final, NamedTuple, cast

from kedge.api.buildcaches import BuildCacheSpec, CacheKind
from kedge.builder.events import Event, Notice, Warned
from kedge.builder.remotecache.document import (
    CACHE_CONFIG,
    CacheContent,
    CachedLayer,
    parse_cache_document,
    parse_inline,
)
from kedge.builder.remotecache.places import CachePlace, read_small
from kedge.content.ingest import BlobWriter
from kedge.content.leases import Lease
from kedge.errdefs import KedgeError, NotFoundError
from kedge.images.layering import LayerRecord
from kedge.images.store import ImageStore
from kedge.images.unpack import PlannedLayer
from kedge.lib.ids import new_id
from kedge.lib.units import format_size
from kedge.oci import media_types
from kedge.oci.image_spec import (
    Manifest,
    parse_image_config,
    parse_index,
    parse_manifest,
)
from kedge.oci.platforms import Platform, best_match

_NO_CACHE: Final = "it holds no build cache"


class CacheSource(NamedTuple):
    """A cache that was asked for."""

    name: str
    """As messages call it."""
    open: Callable[[], CachePlace]
    """Called at most once in a build."""


def load_cache(place: CachePlace, platform: Platform) -> CacheContent:
    """Read a cache: of its own, or inside an image.

    Raises:
        NotFoundError: There is none.
        InvalidParameterError: It cannot be understood.
    """
    document = place.document("")
    if document.media_type in media_types.INDEXES:
        index = parse_index(document.data)
        described = {each.digest: each for each in index.manifests}
        for entry in index.manifests:
            if entry.media_type == CACHE_CONFIG:
                return parse_cache_document(read_small(place, entry), described)
        platforms = [each.image_platform() or Platform("", "") for each in index.manifests]
        best = best_match(platform, platforms)
        if best is None:
            raise NotFoundError(_NO_CACHE)
        document = place.document(index.manifests[best].digest)
    manifest = parse_manifest(document.data)
    if manifest.config.media_type == CACHE_CONFIG:
        described = {each.digest: each for each in manifest.layers}
        return parse_cache_document(read_small(place, manifest.config), described)
    return _inside(place, manifest)


def _inside(place: CachePlace, manifest: Manifest) -> CacheContent:
    if manifest.config.media_type not in media_types.CONFIGS:
        raise NotFoundError(_NO_CACHE)
    config = parse_image_config(read_small(place, manifest.config))
    if not config.inline_cache:
        raise NotFoundError("it is an image without inline cache")
    return parse_inline(config.inline_cache, config.rootfs.diff_ids, manifest.layers)


class CacheImports:
    """The caches of one build; thread-safe."""

    def __init__(
        self,
        sources: Sequence[CacheSource],
        images: ImageStore,
        platform: Platform,
        on_event: Callable[[Event], None],
        check: Callable[[], None],
    ) -> None:
        """Read nothing yet."""
        self._sources = sources
        self._images = images
        self._platform = platform
        self._on_event = on_event
        self._check = check
        self._lock = threading.Lock()
        self._loaded: list[tuple[CacheSource, CachePlace, CacheContent]] | None = None

    def find(self, key: str, parent: str, lease: Lease) -> LayerRecord | None:
        """Return the layer of a step, fetched and unpacked; None where no cache has it.

        Args:
            key: Of the step.
            parent: Chain id below, which is here.
            lease: Takes what is fetched.
        """
        for source, place, content in self._caches():
            layer = content.find(key)
            if layer is None or layer.parent != parent:
                continue
            try:
                return self._fetched(source, place, layer, lease)
            except KedgeError as error:
                self._check()
                self._on_event(Warned(text=f"cache {source.name}: {error}"))
        return None

    def _caches(self) -> list[tuple[CacheSource, CachePlace, CacheContent]]:
        with self._lock:
            if self._loaded is None:
                self._loaded = []
                for source in self._sources:
                    self._check()
                    try:
                        place = source.open()
                        loaded = load_cache(place, self._platform)
                    except KedgeError as error:
                        text = f"cache {source.name} is not used: {error}"
                        self._on_event(Warned(text=text))
                        continue
                    self._loaded.append((source, place, loaded))
            return self._loaded

    def _fetched(
        self, source: CacheSource, place: CachePlace, layer: CachedLayer, lease: Lease
    ) -> LayerRecord:
        content = self._images.content
        lease.add(layer.chain_id, layer.blob.digest)
        if not content.exists(layer.blob.digest):
            self._check()
            with content.ingest(f"cache {layer.blob.digest} {new_id()}") as writer:
                try:
                    place.fetch(layer.blob, cast("BinaryIO", _Ingest(writer)))
                    writer.commit(layer.blob.digest)
                except BaseException:
                    writer.discard()
                    raise
            size = format_size(layer.blob.size)
            self._on_event(Notice(text=f"layer of {size} from cache {source.name}"))
        planned = PlannedLayer(layer.diff_id, layer.chain_id, layer.parent)
        self._images.unpacker.unpack(
            planned, lambda: content.open(layer.blob.digest), check=self._check
        )
        return LayerRecord(
            diff_id=layer.diff_id,
            chain_id=layer.chain_id,
            blob=layer.blob,
            created_ns=layer.created_ns,
        )


class _Ingest:
    """A blob being written as the file that places write to."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer

    def write(self, data: bytes, /) -> int:
        self._writer.write(data)
        return len(data)

    def seek(self, _offset: int, /) -> int:
        # Only ever to the beginning, to write everything again.
        self._writer.rewind()
        return 0

    def truncate(self) -> int:
        return 0


def source_name(spec: BuildCacheSpec) -> str:
    """Return what messages call a cache."""
    # A local one is called by its client's name for it, which says nothing to anybody.
    return spec.place if spec.kind is CacheKind.REGISTRY else spec.kind
