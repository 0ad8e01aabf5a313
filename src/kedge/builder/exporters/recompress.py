"""Layers in another compression, for outputs that ask for one.

The content stays, so the diff_id does; the blob and its digest are new. Nothing is done to a base
layer unless ``force-compression`` asks for it, as in BuildKit: its bytes may be in the registry.
"""

from collections.abc import Callable, Sequence
from typing import BinaryIO, Final, cast

from kedge.api.buildoutputs import BuildOutput
from kedge.archive.compression import Compression, compress, decompress
from kedge.builder.exporters.result import BuiltImage
from kedge.content.leases import Lease
from kedge.content.store import ContentStore
from kedge.images.layering import BlobSink
from kedge.lib.ids import new_id
from kedge.oci import media_types
from kedge.oci.image_spec import Descriptor

_TYPES: Final = {
    "gzip": (Compression.GZIP, media_types.OCI_LAYER_GZIP),
    "zstd": (Compression.ZSTD, media_types.OCI_LAYER_ZSTD),
    "uncompressed": (Compression.NONE, media_types.OCI_LAYER),
}
_DOCKER_SUFFIXES: Final = {"gzip": ".gzip", "zstd": ".zstd", "uncompressed": ".tar"}
_PIECE_BYTES: Final = 1 << 20


def recompressed(
    image: BuiltImage,
    output: BuildOutput,
    content: ContentStore,
    lease: Lease,
    check: Callable[[], None],
) -> Sequence[Descriptor]:
    """Return the blobs of an image's layers as ``output`` wants them compressed.

    Args:
        image: The image.
        output: Says how.
        content: Has the blobs and gets the new ones.
        lease: Protects the new ones.
        check: Raises when nobody waits any more.

    Raises:
        NotFoundError: A base layer is not stored.
    """
    blobs = image.blobs()
    if not output.compression:
        return blobs
    compression, media_type = _TYPES[output.compression]
    made = {layer.blob.digest for layer in image.layers if layer.blob and layer.created_ns}
    wanted: list[Descriptor] = []
    for blob in blobs:
        check()
        is_right = _has(blob, output.compression) and output.level is None
        if is_right or not (output.force_compression or blob.digest in made):
            wanted.append(blob)
        else:
            digest, size = _convert(blob, content, lease, (compression, output.level), check)
            wanted.append(Descriptor(media_type, digest, size))
    return wanted


def _has(blob: Descriptor, compression: str) -> bool:
    _, media_type = _TYPES[compression]
    return blob.media_type == media_type or (
        blob.media_type.startswith("application/vnd.docker.")
        and blob.media_type.endswith(_DOCKER_SUFFIXES[compression])
    )


def _convert(
    blob: Descriptor,
    content: ContentStore,
    lease: Lease,
    wanted: tuple[Compression, int | None],
    check: Callable[[], None],
) -> tuple[str, int]:
    compression, level = wanted
    with (
        content.open(blob.digest) as stored,
        decompress(stored, name=f"layer {blob.digest}") as tar,
        content.ingest(f"recompressed {blob.digest} {new_id()}") as writer,
    ):
        try:
            sink = BlobSink(writer)
            packed = compress(cast("BinaryIO", sink), compression, level=level)
            while piece := tar.read(_PIECE_BYTES):
                check()
                packed.write(piece)
            packed.close()
            lease.add(sink.digest)
            return writer.commit(sink.digest), sink.size_bytes
        except BaseException:
            writer.discard()
            raise
