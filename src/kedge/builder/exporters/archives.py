"""``oci`` and ``docker`` outputs: an image as one archive, or as the files of an OCI layout.

The ``docker`` archive is an OCI layout, too, as Docker's own is since version 25.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from kedge.api.buildoutputs import BuildOutput, OutputKind
from kedge.archive.entry import Entry, Kind
from kedge.archive.members import Member
from kedge.archive.writer import TarWriter, Writable
from kedge.builder.exporters.documents import Bundle
from kedge.content.store import ContentStore
from kedge.images.saving import LAYOUT, NAME_ANNOTATION, TAG_ANNOTATION, blob_path
from kedge.lib.jsontypes import Json
from kedge.oci import media_types
from kedge.oci.image_spec import Descriptor, Index, encode_document
from kedge.oci.references import Reference

_READ_BYTES: Final = 1 << 20


def write_archive(
    bundle: Bundle,
    output: BuildOutput,
    names: Sequence[Reference],
    content: ContentStore,
    out: Writable,
) -> None:
    """Write the archive of an ``oci`` or ``docker`` output."""
    writer = TarWriter(out)
    for member in layout_members(bundle, output, names, content):
        writer.add(member.entry, member.content)
    writer.finish()


def layout_members(
    bundle: Bundle, output: BuildOutput, names: Sequence[Reference], content: ContentStore
) -> Iterator[Member]:
    """Yield the files of the layout, folders first."""
    yield small_file("oci-layout", LAYOUT)
    yield small_file("index.json", encode_document(_index(bundle, names)))
    if output.kind == OutputKind.DOCKER:
        yield small_file("manifest.json", msgspec.json.encode(_listing(bundle, names)))
    for folder in ("blobs", "blobs/sha256"):
        yield plain_member(Entry(folder, Kind.DIRECTORY, 0o755))
    for digest, data in sorted(bundle.documents.items()):
        yield small_file(blob_path(digest), data)
    for digest, blob in sorted(bundle.layers.items()):
        if digest not in bundle.documents:
            entry = Entry(blob_path(digest), Kind.REGULAR, 0o644, size=blob.size)
            yield plain_member(entry, blob_pieces(content, digest))


def bundle_pieces(
    bundle: Bundle, content: ContentStore
) -> Iterator[tuple[Descriptor, Iterable[bytes]]]:
    """Yield every blob of an image, the one that names all others last."""
    for digest, blob in sorted(bundle.layers.items()):
        if digest not in bundle.documents:
            yield blob, blob_pieces(content, digest)
    for digest, data in sorted(bundle.documents.items()):
        if digest != bundle.root.digest:
            yield Descriptor("", digest, len(data)), [data]
    yield bundle.root, [bundle.documents[bundle.root.digest]]


def _index(bundle: Bundle, names: Sequence[Reference]) -> Index:
    named = [
        msgspec.structs.replace(
            bundle.root, annotations={NAME_ANNOTATION: name.canonical(), TAG_ANNOTATION: name.tag}
        )
        for name in names
    ]
    return Index(
        schema_version=2,
        media_type=media_types.OCI_INDEX,
        manifests=named or [bundle.root],
    )


def _listing(bundle: Bundle, names: Sequence[Reference]) -> Json:
    tags: list[Json] = [name.familiar() for name in names]
    listing: list[Json] = []
    for image, blobs in bundle.images:
        layers: list[Json] = [blob_path(blob.digest) for blob in blobs]
        listing.append(
            {"Config": blob_path(image.image_id), "RepoTags": tags or None, "Layers": layers}
        )
    return listing


def small_file(name: str, data: bytes) -> Member:
    """Return a file with content in memory."""
    return plain_member(Entry(name, Kind.REGULAR, 0o644, size=len(data)), iter((data,)))


def plain_member(entry: Entry, content: Iterable[bytes] = ()) -> Member:
    """Return an entry with its content."""
    return Member(entry, iter(content), entry.name, is_opaque=False)


def blob_pieces(content: ContentStore, digest: str) -> Iterator[bytes]:
    """Yield a stored blob."""
    with content.open(digest) as blob:
        while piece := blob.read(_READ_BYTES):
            yield piece
