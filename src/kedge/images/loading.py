"""``docker load``: the images of an OCI layout or of Docker's own layout, old and new.

The archive is read once, as it comes in: every file becomes a blob under its digest, whatever it
is called, and what no image refers to in the end is garbage that the collection takes away. So a
layer that is here already costs nothing, and a path in the archive never becomes one on disk.
"""

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

import msgspec

from kedge.archive.compression import MAGIC_BYTES, Compression, decompress, detect
from kedge.archive.entry import Kind
from kedge.archive.reader import TarReader
from kedge.content.leases import Lease
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError
from kedge.images.image import Image, NewLayer
from kedge.images.layering import BlobSink
from kedge.images.saving import NAME_ANNOTATION, TAG_ANNOTATION
from kedge.images.store import ImageStore
from kedge.images.unpack import PlannedLayer
from kedge.lib.ids import new_id
from kedge.oci import media_types
from kedge.oci.digests import is_digest
from kedge.oci.hashing import chain_ids
from kedge.oci.image_spec import (
    Descriptor,
    Index,
    parse_image_config,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from kedge.oci.platforms import Platform, best_match, host_platform
from kedge.oci.references import Reference, parse_reference

_CHUNK_BYTES: Final = 1 << 20
_ENTRIES_MAX: Final = 100_000
_DOCUMENT_MAX_BYTES: Final = 8 << 20
_NESTING_MAX: Final = 4
_LINKS_MAX: Final = 8
_LAYER_TYPES: Final = {
    Compression.GZIP: media_types.OCI_LAYER_GZIP,
    Compression.ZSTD: media_types.OCI_LAYER_ZSTD,
}


class Loaded(NamedTuple):
    """One image that is in the store now."""

    image: Image
    names: tuple[Reference, ...]


class LayerProgress(NamedTuple):
    """A layer that is being unpacked."""

    diff_id: str
    size_bytes: int


class _DockerEntry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class _Files:
    """The archive's files by path, as digests of stored blobs."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._digests: dict[str, str] = {}
        self._links: dict[str, str] = {}

    def take(self, stream: BinaryIO, lease: Lease) -> None:
        """Store every file of a tar stream."""
        content = self._images.content
        reader = TarReader(lambda: stream.read(_CHUNK_BYTES), name="archive")
        count = 0
        for entry in reader:
            count += 1
            if count > _ENTRIES_MAX:
                raise InvalidParameterError(f"invalid archive: more than {_ENTRIES_MAX} entries")
            path = _clean(entry.name)
            match entry.kind:
                case Kind.REGULAR if entry.segments is not None:
                    raise InvalidParameterError(f"invalid archive: {path} is a sparse file")
                case Kind.REGULAR:
                    with content.ingest(f"load {new_id()}") as writer:
                        sink = BlobSink(writer)
                        try:
                            for piece in reader.content():
                                sink.write(piece)
                            lease.add(sink.digest)
                            self._digests[path] = writer.commit(sink.digest)
                        except BaseException:
                            writer.discard()
                            raise
                    _check_name(path, self._digests[path])
                case Kind.SYMLINK:
                    folder = posixpath.dirname(path)
                    self._links[path] = _clean(posixpath.join(folder, entry.link_target))
                case Kind.HARD_LINK:
                    self._links[path] = _clean(entry.link_target)
                case _:
                    continue

    def digest(self, path: str) -> str | None:
        """Return the digest of the file at ``path``, links followed; None where there is none."""
        path = _clean(path)
        for _ in range(_LINKS_MAX):
            if path in self._digests:
                return self._digests[path]
            if path not in self._links:
                return None
            path = self._links[path]
        return None

    def require(self, path: str) -> str:
        """Return the digest of the file at ``path``."""
        digest = self.digest(path)
        if digest is None:
            raise InvalidParameterError(f"invalid archive: {path} is missing")
        return digest

    def require_layer(self, path: str, lease: Lease) -> str:
        """Return the digest of the layer at ``path``, which may be here and not in the archive."""
        digest = self.digest(path)
        if digest is not None:
            return digest
        algorithm, _, encoded = path.removeprefix("blobs/").partition("/")
        known = f"{algorithm}:{encoded}"
        if not path.startswith("blobs/") or not is_digest(known):
            raise InvalidParameterError(f"invalid archive: {path} is missing")
        lease.add(known)
        if not self._images.content.exists(known):
            raise InvalidParameterError(
                f"invalid archive: layer {known} is missing, and not here either: load the image"
                " first that it was saved since, or save it without --since"
            )
        return known

    def read(self, digest: str, what: str) -> bytes:
        """Return a document."""
        if self._images.content.info(digest).size_bytes > _DOCUMENT_MAX_BYTES:
            raise InvalidParameterError(f"invalid archive: {what} is too large")
        return self._images.content.read(digest)


class ImageLoader:
    """One load; blocks, for a thread."""

    def __init__(
        self,
        images: ImageStore,
        *,
        platform: Platform | None = None,
        progress: Callable[[LayerProgress], None] = lambda _layer: None,
        names: bool = True,
    ) -> None:
        """Load into ``images``.

        Args:
            images: The store.
            platform: Which image of an index; this machine's best fit where it is None.
            progress: Told each layer that has to be unpacked.
            names: Give the images the names the archive has for them.
        """
        self._images = images
        self._platform = platform
        self._progress = progress
        self._tags = names
        self._files = _Files(images)
        self._lease = images.lease()

    def load(self, stream: BinaryIO) -> Iterator[Loaded]:
        """Yield each image of the archive once it is in the store.

        Raises:
            InvalidParameterError: The stream is no archive of images.
            DataLossError: Something in it is damaged.
            NotFoundError: It has nothing for the platform.
        """
        with self._lease:
            with decompress(stream, name="archive") as tar:
                self._files.take(tar, self._lease)
            docker = self._files.digest("manifest.json")
            index = self._files.digest("index.json")
            if docker is not None:
                yield from self._load_docker(docker, self._manifests_by_config(index))
            elif index is not None:
                yield from self._load_index(index)
            else:
                raise InvalidParameterError(
                    "invalid archive: it holds neither manifest.json nor index.json, so it is no"
                    " image: use import for the tar of a file system"
                )
        # Documents nobody refers to, such as those of other platforms.
        self._images.collect_garbage()

    def _load_docker(self, digest: str, manifests: Mapping[str, Descriptor]) -> Iterator[Loaded]:
        try:
            entries = msgspec.json.decode(
                self._files.read(digest, "manifest.json"), type=list[_DockerEntry]
            )
        except msgspec.DecodeError as error:
            raise InvalidParameterError(f"invalid archive: manifest.json: {error}") from None
        for entry in entries:
            config = self._files.require(entry.config)
            layers = [self._files.require_layer(path, self._lease) for path in entry.layers or ()]
            self._check_platform(config)
            names = tuple(_tag(text) for text in entry.repo_tags or ())
            yield self._add(config, layers, names, manifests.get(config))

    def _manifests_by_config(self, index: str | None) -> dict[str, Descriptor]:
        """Return the manifests beside Docker's own list, so that they are kept as they are."""
        found: dict[str, Descriptor] = {}
        if index is None:
            return found
        for descriptor in parse_index(self._files.read(index, "index.json")).manifests:
            digest = self._blob(descriptor)
            if digest is None or descriptor.media_type not in media_types.MANIFESTS:
                continue
            manifest = parse_manifest(self._files.read(digest, "a manifest"))
            found[manifest.config.digest] = Descriptor(
                descriptor.media_type, descriptor.digest, descriptor.size
            )
        return found

    def _load_index(self, digest: str) -> Iterator[Loaded]:
        index = parse_index(self._files.read(digest, "index.json"))
        named: dict[str, list[Reference]] = {}
        tops: dict[str, Descriptor] = {}
        for descriptor in index.manifests:
            tops[descriptor.digest] = descriptor
            name = _annotated_name(descriptor)
            known = named.setdefault(descriptor.digest, [])
            if name is not None:
                known.append(name)
        found = False
        for top in self._top_level(index, tops):
            manifest = self._choose(top, _NESTING_MAX)
            if manifest is None:
                continue
            found = True
            yield self._load_manifest(manifest, tuple(named[top.digest]))
        if not found:
            raise NotFoundError(
                "the archive has no image for the platform"
                f" ({self._platform or host_platform()}): give another with --platform"
            )

    def _top_level(self, index: Index, tops: Mapping[str, Descriptor]) -> list[Descriptor]:
        """Return the images of the layout; unnamed ones of several platforms are one image."""
        if len(tops) > 1 and all(item.platform for item in tops.values()):
            offered = [_platform_of(item) for item in tops.values()]
            position = best_match(self._platform or host_platform(), offered)
            names = {_annotated_name(item) for item in index.manifests}
            if len(names) == 1:
                return [] if position is None else [list(tops.values())[position]]
        return list(tops.values())

    def _choose(self, descriptor: Descriptor, depth: int) -> Descriptor | None:
        """Return the manifest that ``descriptor`` leads to on this platform."""
        digest = self._blob(descriptor)
        if digest is None or depth == 0:
            return None
        data = self._files.read(digest, "a manifest")
        kind = descriptor.media_type or sniff_media_type(data)
        if kind in media_types.MANIFESTS:
            config = self._files.digest(_blob_path(parse_manifest(data).config.digest))
            return descriptor if config is not None and self._fits(config) else None
        if kind not in media_types.INDEXES:
            return None
        entries = [item for item in parse_index(data).manifests if self._blob(item) is not None]
        offered = [_platform_of(item) for item in entries]
        position = best_match(self._platform or host_platform(), offered)
        return None if position is None else self._choose(entries[position], depth - 1)

    def _blob(self, descriptor: Descriptor) -> str | None:
        return self._files.digest(_blob_path(descriptor.digest))

    def _load_manifest(self, descriptor: Descriptor, names: tuple[Reference, ...]) -> Loaded:
        manifest = parse_manifest(self._files.read(descriptor.digest, "a manifest"))
        layers = [
            self._files.require_layer(_blob_path(layer.digest), self._lease)
            for layer in manifest.layers
        ]
        plain = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
        return self._add(manifest.config.digest, layers, names, plain)

    def _fits(self, config: str) -> bool:
        """Tell whether the image of ``config`` is for the platform asked for, or any will do."""
        if self._platform is None:
            return True
        here = parse_image_config(self._files.read(config, "a config")).image_platform()
        return best_match(self._platform, [here]) is not None

    def _check_platform(self, config: str) -> None:
        if not self._fits(config):
            raise NotFoundError(
                "image was found but does not provide the specified platform"
                f" ({self._platform}): leave --platform out or save that platform"
            )

    def _add(
        self,
        config_digest: str,
        blobs: list[str],
        names: tuple[Reference, ...],
        manifest: Descriptor | None,
    ) -> Loaded:
        config = parse_image_config(self._files.read(config_digest, "a config"))
        diff_ids = config.rootfs.diff_ids
        if len(blobs) != len(diff_ids):
            raise InvalidParameterError(
                f"invalid manifest, layers length mismatch: expected {len(diff_ids)},"
                f" got {len(blobs)}"
            )
        below = ""
        layers: list[NewLayer] = []
        for diff_id, chain_id, blob in zip(diff_ids, chain_ids(diff_ids), blobs, strict=True):
            self._lease.add(chain_id)
            described = self._describe(blob)
            if not self._images.unpacker.has(chain_id):
                self._progress(LayerProgress(diff_id, described.size))
            self._images.unpacker.unpack(
                PlannedLayer(diff_id, chain_id, below),
                lambda blob=blob: self._images.content.open(blob),  # type: ignore[misc]
            )
            layers.append(NewLayer(diff_id, described))
            below = chain_id
        names = names if self._tags else ()
        image = self._images.add(config_digest, layers, manifest=manifest, names=names)
        self._images.unpacker.sync()
        return Loaded(image, names)

    def _describe(self, digest: str) -> Descriptor:
        with self._images.content.open(digest) as blob:
            kind = detect(blob.read(MAGIC_BYTES))
        media_type = _LAYER_TYPES.get(kind, media_types.OCI_LAYER)
        return Descriptor(media_type, digest, self._images.content.info(digest).size_bytes)


def _clean(path: str) -> str:
    """Return a path of the archive in one spelling; it is a key and never reaches the disk."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _check_name(path: str, digest: str) -> None:
    """Refuse a blob that is not what its name says."""
    if path.startswith("blobs/sha256/") and path != _blob_path(digest):
        raise DataLossError(f"{path} does not match its digest: the bytes are {digest}")


def _platform_of(descriptor: Descriptor) -> Platform | None:
    fields = descriptor.platform
    if fields is None or not fields.architecture:
        return None
    return Platform(fields.os, fields.architecture, fields.variant)


def _annotated_name(descriptor: Descriptor) -> Reference | None:
    """Return the name a layout gives an image: containerd's in full, or a reference as such."""
    text = descriptor.annotations.get(NAME_ANNOTATION)
    if not text:
        text = descriptor.annotations.get(TAG_ANNOTATION, "")
        # The specification's own use of it is a bare tag, of nobody knows which repository.
        if ":" not in text and "/" not in text:
            return None
    return _tag(text)


def _tag(text: str) -> Reference:
    name = parse_reference(text).with_default_tag()
    if name.digest:
        raise InvalidParameterError(f"invalid archive: {text} names a digest, not a tag")
    return name
