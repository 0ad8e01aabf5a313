"""The caches of one build: which are asked, what is written where."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kedge.api.buildcaches import BuildCacheSpec, CacheKind
from kedge.builder.cache import BuildCache
from kedge.builder.contexts import TreeContext
from kedge.builder.events import Event, ExportDone, ExportStarted, Warned
from kedge.builder.exporters.registry import push_blobs
from kedge.builder.failures import BuildCancelledError
from kedge.builder.outlets import Outlets
from kedge.builder.remotecache.document import encode_inline
from kedge.builder.remotecache.exports import Exported, cache_content
from kedge.builder.remotecache.imports import CacheImports, CacheSource, source_name
from kedge.builder.remotecache.places import CachePlace, LayoutTree
from kedge.builder.request import BuildRequest
from kedge.distribution.failures import RegistryRefusedError, push_failure
from kedge.distribution.places import RegistryPlace
from kedge.distribution.publishing import put_manifest
from kedge.errdefs import KedgeError, NotSupportedError
from kedge.images.layering import LayerRecord
from kedge.images.store import ImageStore
from kedge.oci.image_spec import encode_document
from kedge.oci.platforms import Platform
from kedge.oci.references import parse_reference

_MANIFEST_KEY: Final = "cache.manifest"
"""The client writes this descriptor into the index of its folder."""
_INLINE_ARG: Final = "BUILDKIT_INLINE_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a build of one platform did."""

    keys: Sequence[str]
    stages: Sequence[Sequence[LayerRecord]]
    result: Sequence[LayerRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSession:
    """The caches that one build was told of."""

    request: BuildRequest
    outlets: Outlets
    images: ImageStore
    cache: BuildCache
    on_event: Callable[[Event], None]
    check: Callable[[], None]

    def imports(self, platform: Platform) -> CacheImports:
        """Return the caches that are asked."""
        sources = [
            CacheSource(source_name(spec), functools.partial(self._open, spec))
            for spec in self.request.cache_from
        ]
        return CacheImports(sources, self.images, platform, self.on_event, self.check)

    def _open(self, spec: BuildCacheSpec) -> CachePlace:
        if spec.kind is CacheKind.REGISTRY:
            if self.outlets.registries is None:
                raise NotSupportedError("this build cannot ask registries")
            reference = parse_reference(spec.place).with_default_tag()
            client = self.outlets.registries.client(reference)
            return RegistryPlace(client, reference.digest or reference.tag)
        context = self.request.contexts.get(spec.place)
        if isinstance(context, TreeContext):
            return LayoutTree(context.open(), spec.tag, spec.digest)
        if self.outlets.stores is None:
            raise NotSupportedError("a local cache needs a client that sends it: use kedge build")
        return self.outlets.stores.open_cache(spec)

    def inline(self, made: Made) -> str:
        """Return what the image's configuration is to hold; empty unless it was asked for."""
        wanted = self.request.build_args.get(_INLINE_ARG, "") in {"1", "true"}
        if not wanted and all(spec.kind is not CacheKind.INLINE for spec in self.request.cache_to):
            return ""
        content = cache_content(self.cache, made.keys, (), made.result, is_whole=False)
        return encode_inline(content, [layer.diff_id for layer in made.result])

    def export(self, made: Sequence[Made]) -> dict[str, str]:
        """Write every cache that was asked for; return what clients are told of it.

        Raises:
            KedgeError: One cannot be written, and ``ignore-error`` does not say to go on.
        """
        told: dict[str, str] = {}
        local = len(self.request.outputs)
        for spec in self.request.cache_to:
            if spec.kind is CacheKind.INLINE:
                continue
            try:
                told |= self._export(spec, made, local)
            except BuildCancelledError:
                raise
            except KedgeError as error:
                if not spec.ignores_errors:
                    raise
                self.on_event(Warned(text=f"cache {source_name(spec)} is not written: {error}"))
            local += spec.kind is CacheKind.LOCAL
        return told

    def _export(self, spec: BuildCacheSpec, made: Sequence[Made], index: int) -> dict[str, str]:
        content = cache_content(
            self.cache,
            [key for each in made for key in each.keys],
            [stage for each in made for stage in (*each.stages, each.result)],
            made[0].result,
            is_whole=spec.is_whole or len(made) > 1,
        )
        exported = Exported(content, spec)
        text = f"exporting cache to {source_name(spec)}"
        self.on_event(ExportStarted(text=text))
        told: dict[str, str] = {}
        if spec.kind is CacheKind.REGISTRY:
            self._push(spec, exported)
        elif self.outlets.stores is not None:
            self.outlets.stores.write_cache(spec, exported.pieces(self.images.content))
            told = {_MANIFEST_KEY: encode_document(exported.described).decode()}
        elif self.outlets.sinks is None:
            raise NotSupportedError("a local cache needs a client that takes it: use kedge build")
        else:
            members = exported.members(spec.tag, self.images.content)
            self.outlets.sinks.files(index, members)
        self.on_event(ExportDone(text=text, response={}))
        return told

    def _push(self, spec: BuildCacheSpec, exported: Exported) -> None:
        if self.outlets.registries is None:
            raise NotSupportedError("this build cannot push to registries")
        reference = parse_reference(spec.place).with_default_tag()
        client = self.outlets.registries.client(reference, push=True)
        try:
            push_blobs(client, exported.blobs, self.images.content.open, self.check)
            push_blobs(client, [exported.config], exported.open_config, self.check)
            put_manifest(client, exported.root, reference.tag)
        except RegistryRefusedError as error:
            raise push_failure(error.problem, reference, client.endpoint.address) from error
