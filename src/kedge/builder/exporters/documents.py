"""The documents of a result: configuration, manifest, attestations, index.

Follows image-spec v1.1 and, for attestations, BuildKit's storage: a manifest of in-toto statements
beside the image's in one index, of platform ``unknown/unknown``, that names the image's manifest in
``vnd.docker.reference.digest``. Equal results give equal bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kedge.api.buildoutputs import BuildOutput, OutputKind
from kedge.builder.exporters.result import Attestation, BuiltImage
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import media_types
from kedge.oci.hashing import sha256_digest
from kedge.oci.image_spec import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformFields,
    RootFS,
    encode_document,
)
from kedge.oci.references import Reference

IN_TOTO: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v0.1"
PREDICATE_TYPE: Final = "in-toto.io/predicate-type"
REFERENCE_DIGEST: Final = "vnd.docker.reference.digest"
REFERENCE_TYPE: Final = "vnd.docker.reference.type"
ATTESTATION_MANIFEST: Final = "attestation-manifest"
_UNKNOWN: Final = PlatformFields(architecture="unknown", os="unknown")
_DOCKER_TYPES: Final = {
    media_types.OCI_LAYER: media_types.DOCKER_LAYER,
    media_types.OCI_LAYER_GZIP: media_types.DOCKER_LAYER_GZIP,
    media_types.OCI_LAYER_ZSTD: "application/vnd.docker.image.rootfs.diff.tar.zstd",
}
_OCI_TYPES: Final = {docker: oci for oci, docker in _DOCKER_TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything one output consists of, and what names it all."""

    root: Descriptor
    """Of the manifest or the index."""
    config: Descriptor
    """Of the first image."""
    documents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Small ones by digest, in the order a registry wants them: each after what it names."""
    manifests: list[Descriptor] = field(default_factory=list[Descriptor])
    """Of the documents, those that are manifests, the root last."""
    layers: dict[str, Descriptor] = field(default_factory=dict[str, Descriptor])
    """Blobs of the content store by digest."""
    images: list[tuple[BuiltImage, Sequence[Descriptor]]] = field(
        default_factory=list[tuple[BuiltImage, Sequence[Descriptor]]]
    )


def uses_oci_types(output: BuildOutput) -> bool:
    """Say whether an output has OCI media types: not where only ``docker load`` will read it."""
    return output.oci_types if output.oci_types is not None else output.kind != OutputKind.DOCKER


def make_bundle(
    images: Sequence[tuple[BuiltImage, Sequence[Descriptor]]],
    output: BuildOutput,
    names: Sequence[Reference],
) -> Bundle:
    """Return the documents of ``images``, one for each platform, each with its layers' blobs.

    One image without attestations is a manifest; anything else is an index.
    """
    with_oci = uses_oci_types(output)
    documents: dict[str, bytes] = {}
    manifests: list[Descriptor] = []
    entries: list[Descriptor] = []
    configs: list[Descriptor] = []
    layers: dict[str, Descriptor] = {}
    for image, blobs in images:
        typed = [_typed(blob, with_oci=with_oci) for blob in blobs]
        layers |= {blob.digest: blob for blob in typed}
        configs.append(
            _add(
                documents,
                image.data,
                media_types.OCI_CONFIG if with_oci else media_types.DOCKER_CONFIG,
            )
        )
        manifest = Manifest(
            schema_version=2,
            media_type=media_types.OCI_MANIFEST if with_oci else media_types.DOCKER_MANIFEST,
            config=configs[-1],
            layers=typed,
            annotations=dict(output.annotations),
        )
        described = _add(documents, encode_document(manifest), manifest.media_type)
        manifests.append(described)
        entries.append(msgspec.structs.replace(described, platform=image.platform_fields()))
    for (image, _), described in zip(images, list(manifests), strict=True):
        # ``docker load`` knows no index.
        if image.attestations and output.kind != OutputKind.DOCKER:
            attested = _attest(documents, image, described, names)
            manifests.append(attested)
            entries.append(_attested_entry(attested, described))
    root = manifests[0]
    if len(entries) > 1:
        index = Index(
            schema_version=2,
            media_type=media_types.OCI_INDEX if with_oci else media_types.DOCKER_INDEX,
            manifests=entries,
            annotations=dict(output.index_annotations),
        )
        root = _add(documents, encode_document(index), index.media_type)
        manifests.append(root)
    return Bundle(
        root=root,
        config=configs[0],
        documents=documents,
        manifests=manifests,
        layers=layers,
        images=list(images),
    )


def describe(bundle: Bundle, names: Sequence[Reference]) -> dict[str, str]:
    """Return what BuildKit's exporters answer about an image."""
    import base64  # noqa: PLC0415 - rarely needed

    described = encode_document(bundle.root)
    answer = {
        "containerimage.digest": bundle.root.digest,
        "containerimage.config.digest": bundle.config.digest,
        "containerimage.descriptor": base64.b64encode(described).decode(),
    }
    if names:
        answer["image.name"] = ",".join(name.canonical() for name in names)
    return answer


def _typed(blob: Descriptor, *, with_oci: bool) -> Descriptor:
    table: Mapping[str, str] = _OCI_TYPES if with_oci else _DOCKER_TYPES
    media_type = table.get(blob.media_type, blob.media_type)
    return Descriptor(media_type, blob.digest, blob.size, urls=blob.urls)


def _add(documents: dict[str, bytes], data: bytes, media_type: str) -> Descriptor:
    digest = sha256_digest(data)
    documents[digest] = data
    return Descriptor(media_type, digest, len(data))


def _attest(
    documents: dict[str, bytes],
    image: BuiltImage,
    manifest: Descriptor,
    names: Sequence[Reference],
) -> Descriptor:
    """Add the attestation manifest of an image and return its descriptor."""
    statements: list[Descriptor] = []
    for attestation in image.attestations:
        data = statement(attestation, subjects(image, manifest.digest, names))
        added = _add(documents, data, IN_TOTO)
        noted = {PREDICATE_TYPE: attestation.predicate_type}
        statements.append(msgspec.structs.replace(added, annotations=noted))
    config = ImageConfig(
        architecture="unknown",
        os="unknown",
        rootfs=RootFS(diff_ids=[each.digest for each in statements]),
    )
    # Its configuration is an image's so that old registries take it; nothing can run it.
    described = _add(documents, encode_document(config), media_types.OCI_CONFIG)
    attested = Manifest(
        schema_version=2,
        media_type=media_types.OCI_MANIFEST,
        config=described,
        layers=statements,
    )
    return _add(documents, encode_document(attested), media_types.OCI_MANIFEST)


def _attested_entry(attested: Descriptor, about: Descriptor) -> Descriptor:
    return msgspec.structs.replace(
        attested,
        platform=_UNKNOWN,
        annotations={REFERENCE_DIGEST: about.digest, REFERENCE_TYPE: ATTESTATION_MANIFEST},
    )


def subjects(image: BuiltImage, digest: str, names: Sequence[Reference]) -> list[Json]:
    """Return the subjects of a statement: each name as a package URL, and the digest."""
    algorithm, _, encoded = digest.partition(":")
    platform = str(image.platform).replace("/", "%2F")
    urls = [
        f"pkg:docker/{name.familiar_name}@{name.tag}?platform={platform}" for name in names
    ] or ["_"]
    return [{"name": url, "digest": {algorithm: encoded}} for url in urls]


def statement(attestation: Attestation, about: Sequence[Json]) -> bytes:
    """Return the in-toto statement that a predicate is true of ``about``."""
    predicate: Json = msgspec.json.decode(attestation.predicate)
    document: JsonObject = {
        "_type": STATEMENT,
        "predicateType": attestation.predicate_type,
        "subject": [*about],
        "predicate": predicate,
    }
    return msgspec.json.encode(document)
