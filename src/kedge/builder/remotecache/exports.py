"""``--cache-to``: what this build knows, for other engines.

``min`` is what the image's own layers are worth, ``max`` every step of every stage. A cache is
written after the image, and a layer that another output pushed is not sent again.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from kedge.api.buildcaches import BuildCacheSpec
from kedge.archive.entry import Entry, Kind
from kedge.archive.members import Member
from kedge.builder.cache import BuildCache
from kedge.builder.exporters.archives import blob_pieces, plain_member, small_file
from kedge.builder.remotecache.document import (
    CACHE_CONFIG,
    CREATED_AT,
    UNCOMPRESSED,
    CacheContent,
    CachedLayer,
    encode_cache,
)
from kedge.content.store import ContentStore
from kedge.distribution.places import Document
from kedge.images.layering import LayerRecord
from kedge.images.saving import LAYOUT, TAG_ANNOTATION, blob_path
from kedge.lib.clock import format_rfc3339
from kedge.oci import media_types
from kedge.oci.hashing import sha256_digest
from kedge.oci.image_spec import Descriptor, Index, Manifest, encode_document


class Exported:
    """A cache as documents and blobs."""

    def __init__(self, content: CacheContent, spec: BuildCacheSpec) -> None:
        """Make the documents of ``content``."""
        self.config_data = encode_cache(content)
        digest = sha256_digest(self.config_data)
        self.config = Descriptor(CACHE_CONFIG, digest, len(self.config_data))
        blobs = {layer.blob.digest: _described(layer) for layer in content.layers}
        self.blobs = list(blobs.values())
        if spec.as_image:
            document: Manifest | Index = Manifest(
                schema_version=2,
                media_type=media_types.OCI_MANIFEST,
                config=self.config,
                layers=self.blobs,
            )
        else:
            document = Index(
                schema_version=2,
                media_type=media_types.OCI_INDEX,
                manifests=[*self.blobs, self.config],
            )
        data = encode_document(document)
        self.root = Document(document.media_type, sha256_digest(data), data)

    def open_config(self, _digest: str) -> BinaryIO:
        """Return the document's bytes as a file."""
        return io.BytesIO(self.config_data)

    @property
    def described(self) -> Descriptor:
        """What an index says of the cache."""
        return Descriptor(self.root.media_type, self.root.digest, len(self.root.data))

    def pieces(self, content: ContentStore) -> Iterator[tuple[Descriptor, Iterable[bytes]]]:
        """Yield everything there is to write, the document itself last."""
        for blob in self.blobs:
            yield blob, blob_pieces(content, blob.digest)
        yield self.config, [self.config_data]
        yield self.described, [self.root.data]

    def members(self, tag: str, content: ContentStore) -> Iterator[Member]:
        """Yield the files of an OCI layout, folders first, the index last."""
        yield small_file("oci-layout", LAYOUT)
        for folder in ("blobs", "blobs/sha256"):
            yield plain_member(Entry(folder, Kind.DIRECTORY, 0o755))
        for blob in self.blobs:
            entry = Entry(blob_path(blob.digest), Kind.REGULAR, 0o644, size=blob.size)
            yield plain_member(entry, blob_pieces(content, blob.digest))
        yield small_file(blob_path(self.config.digest), self.config_data)
        yield small_file(blob_path(self.root.digest), self.root.data)
        named = Descriptor(
            self.root.media_type,
            self.root.digest,
            len(self.root.data),
            annotations={TAG_ANNOTATION: tag},
        )
        index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=[named])
        yield small_file("index.json", encode_document(index))


def cache_content(
    cache: BuildCache,
    keys: Iterable[str],
    stages: Iterable[Sequence[LayerRecord]],
    result: Sequence[LayerRecord],
    *,
    is_whole: bool,
) -> CacheContent:
    """Return what a cache is to hold.

    Args:
        cache: Knows which layer a key leads to.
        keys: The steps of the build.
        stages: The layers of every stage, base first.
        result: Those of the image.
        is_whole: Whether steps count that are not in the image.
    """
    layers: dict[str, CachedLayer] = {}
    for stage in (result, *(stages if is_whole else ())):
        parent = ""
        for layer in stage:
            if layer.blob is None:
                break
            layers[layer.chain_id] = CachedLayer(
                diff_id=layer.diff_id,
                chain_id=layer.chain_id,
                parent=parent,
                blob=layer.blob,
                created_ns=layer.created_ns,
            )
            parent = layer.chain_id
    found: dict[str, str] = {}
    for key in keys:
        record = cache.find(key)
        if record is not None and record.chain_id in layers:
            found[key] = record.chain_id
    return CacheContent(layers=list(layers.values()), keys=found)


def _described(layer: CachedLayer) -> Descriptor:
    return msgspec.structs.replace(
        layer.blob,
        annotations={
            CREATED_AT: format_rfc3339(layer.created_ns),
            UNCOMPRESSED: layer.diff_id,
        },
    )
