"""``docker save``: images as one tar that is an OCI layout and Docker's own layout at once.

Follows moby's tarexport and the image-spec (image-layout.md). Blobs go out as they are stored,
each once, so the manifest a registry gave keeps its digest.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from kedge.archive.entry import Entry, Kind
from kedge.archive.writer import TarWriter, Writable
from kedge.errdefs import NotFoundError
from kedge.images.image import Image
from kedge.images.store import ImageStore
from kedge.lib.jsontypes import Json
from kedge.oci import media_types
from kedge.oci.hashing import sha256_digest
from kedge.oci.image_spec import Descriptor, Index, Manifest, encode_document
from kedge.oci.references import Reference, parse_any_reference

NAME_ANNOTATION: Final = "io.containerd.image.name"
TAG_ANNOTATION: Final = "org.opencontainers.image.ref.name"
LAYOUT: Final = b'{"imageLayoutVersion": "1.0.0"}'
_READ_BYTES: Final = 1 << 20


class Saved(NamedTuple):
    """An image and the tags it is saved under; none saves it by id alone."""

    image: Image
    tags: tuple[Reference, ...]


def select_saved(images: ImageStore, names: Sequence[str]) -> list[Saved]:
    """Return what ``names`` mean: one tag, all tags of a repository, or an image by id or digest.

    Raises:
        NotFoundError: No such image.
    """
    chosen: dict[str, Saved] = {}
    for name in names:
        for image, tags in _meant(images, name):
            before = chosen.get(image.id)
            known = before.tags if before else ()
            more = tuple(tag for tag in tags if tag not in known)
            chosen[image.id] = Saved(image, (*known, *more))
    return list(chosen.values())


def _meant(images: ImageStore, name: str) -> Iterator[tuple[Image, tuple[Reference, ...]]]:
    parsed = parse_any_reference(name)
    if isinstance(parsed, str) or parsed.digest:
        yield images.resolve(name), ()
        return
    if not parsed.tag:
        tagged = [
            (image, tuple(tag for tag in image.tags if tag.name == parsed.name))
            for image in images.list_images(all_images=True)
        ]
        found = [(image, tags) for image, tags in tagged if tags]
        if found:
            yield from found
            return
    image = images.resolve(name)
    wanted = parsed.with_default_tag()
    yield image, (wanted,) if wanted in image.tags else ()


def select_known(images: ImageStore, names: Sequence[str]) -> frozenset[str]:
    """Return the digests of the layers of images that whoever loads an archive has.

    Raises:
        NotFoundError: No such image.
    """
    return frozenset(
        layer.blob.digest
        for name in names
        for layer in images.resolve(name).layers
        if layer.blob is not None
    )


def write_images(
    images: ImageStore,
    saved: Sequence[Saved],
    out: Writable,
    *,
    known: frozenset[str] = frozenset(),
) -> None:
    """Write the archive.

    Args:
        images: Where they are.
        saved: What to write.
        out: Where to.
        known: Digests of layers to leave out; only who has them can load the archive.

    Raises:
        NotFoundError: A layer is not stored as a blob.
    """
    documents: dict[str, bytes] = {}
    blobs: dict[str, int] = {}
    manifests: list[Descriptor] = []
    listing: list[Json] = []
    repositories: dict[str, Json] = {}
    for image, tags in saved:
        descriptor = _manifest(images, image, documents, blobs)
        names = [_named(descriptor, tag) for tag in tags] or [descriptor]
        manifests.extend(names)
        listing.append(_docker_entry(image, tags))
        _note_tags(repositories, image, tags)
    index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=manifests)
    writer = TarWriter(out)
    _add(writer, "oci-layout", LAYOUT)
    _add(writer, "index.json", encode_document(index))
    _add(writer, "manifest.json", msgspec.json.encode(listing))
    if repositories:
        _add(writer, "repositories", msgspec.json.encode(repositories))
    for folder in ("blobs", "blobs/sha256"):
        writer.add(Entry(folder, Kind.DIRECTORY, 0o755))
    for digest, data in documents.items():
        _add(writer, blob_path(digest), data)
    for digest, size in blobs.items():
        if digest in known:
            continue
        entry = Entry(blob_path(digest), Kind.REGULAR, size=size)
        writer.add(entry, _read_blob(images, digest))
    writer.finish()


def _manifest(
    images: ImageStore, image: Image, documents: dict[str, bytes], blobs: dict[str, int]
) -> Descriptor:
    """Note every blob of ``image`` and return its manifest's descriptor, made where it has none."""
    config = images.config_bytes(image.id)
    documents[image.id] = config
    layers: list[Descriptor] = []
    for layer in image.layers:
        if layer.blob is None:
            raise NotFoundError(
                f"layer {layer.chain_id} of image {image.short_id} is not stored: build it again"
            )
        blobs[layer.blob.digest] = images.content.info(layer.blob.digest).size_bytes
        layers.append(layer.blob)
    stored = image.manifest
    if stored is not None and images.content.exists(stored.digest):
        documents[stored.digest] = images.content.read(stored.digest)
        return Descriptor(stored.media_type, stored.digest, stored.size)
    manifest = encode_document(
        Manifest(
            schema_version=2,
            media_type=media_types.OCI_MANIFEST,
            config=Descriptor(media_types.OCI_CONFIG, image.id, len(config)),
            layers=layers,
        )
    )
    digest = sha256_digest(manifest)
    documents[digest] = manifest
    return Descriptor(media_types.OCI_MANIFEST, digest, len(manifest))


def _named(descriptor: Descriptor, tag: Reference) -> Descriptor:
    annotations = {NAME_ANNOTATION: tag.canonical(), TAG_ANNOTATION: tag.tag}
    return msgspec.structs.replace(descriptor, annotations=annotations)


def _docker_entry(image: Image, tags: Sequence[Reference]) -> Json:
    layers: list[Json] = []
    sources: dict[str, Json] = {}
    for layer in image.layers:
        if layer.blob is not None:
            layers.append(blob_path(layer.blob.digest))
            sources[layer.diff_id] = {
                "mediaType": layer.blob.media_type,
                "size": layer.blob.size,
                "digest": layer.blob.digest,
            }
    names: list[Json] = [tag.familiar() for tag in tags]
    return {
        "Config": blob_path(image.id),
        "RepoTags": names or None,
        "Layers": layers,
        "LayerSources": sources,
    }


def _note_tags(repositories: dict[str, Json], image: Image, tags: Sequence[Reference]) -> None:
    for tag in tags:
        known = repositories.setdefault(tag.familiar_name, {})
        if isinstance(known, dict) and image.layers:
            known[tag.tag] = image.layers[-1].diff_id.partition(":")[2]


def blob_path(digest: str) -> str:
    """Return where a layout keeps a blob."""
    return f"blobs/{digest.replace(':', '/', 1)}"


def _add(writer: TarWriter, name: str, data: bytes) -> None:
    writer.add(Entry(name, Kind.REGULAR, size=len(data)), [data])


def _read_blob(images: ImageStore, digest: str) -> Iterator[bytes]:
    with images.content.open(digest) as blob:
        while piece := blob.read(_READ_BYTES):
            yield piece
