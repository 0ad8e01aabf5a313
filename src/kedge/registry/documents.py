"""Manifests as a registry sees them: what kind, what they refer to, and of whom they speak.

Pure. A registry takes kinds it has never heard of (artifacts, attestations), so only the members
that the distribution specification gives a meaning are looked at; the bytes stay as they came.
"""

from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.oci import media_types
from kedge.oci.image_spec import Index, Manifest, parse_index, parse_manifest, sniff_media_type
from kedge.registry.failures import DistributionError, ErrorCode

_KNOWN: Final = media_types.INDEXES | media_types.MANIFESTS


class Document(NamedTuple):
    """A manifest taken apart.

    Attributes:
        artifact_type: What it is listed as among the referrers of its subject.
        blobs: Digests it needs, foreign layers excepted.
        children: Digests of manifests it lists.
        subject: Digest of the manifest it is about, or empty.
    """

    media_type: str
    artifact_type: str
    annotations: dict[str, str]
    blobs: tuple[str, ...]
    children: tuple[str, ...]
    subject: str


def parse_document(data: bytes, content_type: str) -> Document:
    """Read a manifest that was pushed as ``content_type``.

    Raises:
        DistributionError: It is none, is another kind than announced, or of an unknown kind.
    """
    announced = content_type.partition(";")[0].strip().lower()
    try:
        media_type = announced or sniff_media_type(data)
        return _describe(_parse(data, media_type), media_type)
    except InvalidParameterError as error:
        raise DistributionError(ErrorCode.MANIFEST_INVALID, f"manifest invalid: {error}") from error


def _parse(data: bytes, media_type: str) -> Manifest | Index:
    if media_type in media_types.SCHEMA1:
        raise InvalidParameterError("schema 1 manifests are no longer taken: push schema 2")
    if media_type not in _KNOWN:
        raise InvalidParameterError(f'unknown media type "{media_type}"')
    document = parse_index(data) if media_type in media_types.INDEXES else parse_manifest(data)
    # The same bytes must not be one thing for one client and another for the next.
    if document.media_type and document.media_type != media_type:
        raise InvalidParameterError(
            f'it says "{document.media_type}", but was pushed as "{media_type}"'
        )
    return document


def _describe(document: Manifest | Index, media_type: str) -> Document:
    subject = document.subject.digest if document.subject is not None else ""
    if isinstance(document, Index):
        return Document(
            media_type=media_type,
            artifact_type=document.artifact_type,
            annotations=document.annotations,
            blobs=(),
            children=tuple(entry.digest for entry in document.manifests),
            subject=subject,
        )
    needed = (document.config, *(layer for layer in document.layers if not layer.is_foreign))
    return Document(
        media_type=media_type,
        artifact_type=document.artifact_type or document.config.media_type,
        annotations=document.annotations,
        blobs=tuple(descriptor.digest for descriptor in needed),
        children=(),
        subject=subject,
    )
