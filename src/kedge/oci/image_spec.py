"""Image-spec documents: descriptor, manifest, index and image config, read and written.

Vocabulary follows opencontainers/image-spec v1.1 and the Docker fields that images carry. A
JSON null is what Go writes for "absent" and is read as that. Bytes that were received are stored
as they came: these types are for looking inside, and for documents kedge writes itself.
"""

from typing import TypeVar, cast

import msgspec

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import media_types
from kedge.oci.digests import parse_digest
from kedge.oci.platforms import Platform


class PlatformFields(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"os_version": "os.version"}
):
    """The ``platform`` object of a descriptor."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = ""


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a blob is, its name and its size."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    urls: list[str] = []
    platform: PlatformFields | None = None
    artifact_type: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether this is a layer that stays where its licence left it."""
        return bool(self.urls) and self.media_type in media_types.FOREIGN_LAYERS

    def image_platform(self) -> Platform | None:
        """Return the platform of an index entry, or None where it says nothing."""
        p = self.platform
        return None if p is None else Platform(p.os, p.architecture, p.variant, p.os_version)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image for one platform: a config and its layers, base layer first."""

    schema_version: int
    media_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    subject: Descriptor | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Manifests of one name for several platforms (Docker: manifest list)."""

    schema_version: int
    media_type: str = ""
    manifests: list[Descriptor]
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    subject: Descriptor | None = None


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Docker's HEALTHCHECK; durations in nanoseconds, zero for the default."""

    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """What a container of this image runs like unless told otherwise."""

    user: str = ""
    exposed_ports: dict[str, dict[str, str]] = {}
    env: list[str] = []
    entrypoint: list[str] = []
    cmd: list[str] = []
    volumes: dict[str, dict[str, str]] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: list[str] = []
    shell: list[str] = []
    stop_timeout: int | None = None


class RootFS(msgspec.Struct, frozen=True):
    """The uncompressed layers' digests, base layer first."""

    type: str = "layers"
    diff_ids: list[str] = []


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer, or one change of the config, came to be."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"os_version": "os.version", "inline_cache": "moby.buildkit.cache.v0"},
):
    """An image: what it runs on, how it runs, its layers and its history.

    Its digest is the image's id.
    """

    created: str = ""
    author: str = ""
    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = ""
    config: ContainerConfig = ContainerConfig()
    rootfs: RootFS
    history: list[History] = []
    docker_version: str = ""
    comment: str = ""
    inline_cache: str = ""
    """Base64 of BuildKit's cache records, in images that carry their own build cache."""

    def image_platform(self) -> Platform:
        """Return what the image runs on."""
        return Platform(self.os, self.architecture, self.variant, self.os_version)


_Document = TypeVar("_Document", Manifest, Index, ImageConfig)


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest of either vocabulary.

    Raises:
        InvalidParameterError: It is not one; the text says where.
    """
    document = _decode(data, "manifest")
    _check_kind(document, "manifest", forbidden="manifests")
    manifest = _convert(document, Manifest, "manifest")
    for descriptor in (manifest.config, *manifest.layers):
        _check_descriptor(descriptor, "manifest")
    return manifest


def parse_index(data: bytes) -> Index:
    """Read an index or a Docker manifest list.

    Raises:
        InvalidParameterError: It is not one; the text says where.
    """
    document = _decode(data, "image index")
    _check_kind(document, "image index", forbidden="layers")
    index = _convert(document, Index, "image index")
    for descriptor in index.manifests:
        _check_descriptor(descriptor, "image index")
    return index


def parse_image_config(data: bytes) -> ImageConfig:
    """Read an image config.

    Raises:
        InvalidParameterError: It is not one; the text says where.
    """
    config = _convert(_decode(data, "image config"), ImageConfig, "image config")
    for diff_id in config.rootfs.diff_ids:
        try:
            parse_digest(diff_id)
        except InvalidParameterError as error:
            raise InvalidParameterError(
                f'invalid image config: diff_id "{diff_id}": {error}'
            ) from error
    return config


def encode_document(document: Manifest | Index | ImageConfig | Descriptor) -> bytes:
    """Return the JSON of a document; equal documents give equal bytes, so equal digests."""
    return msgspec.json.encode(document)


def sniff_media_type(data: bytes) -> str:
    """Return the media type a manifest's own bytes claim, or what its members imply.

    Raises:
        InvalidParameterError: The bytes are no JSON object.
    """
    document = _decode(data, "manifest")
    claimed = document.get("mediaType")
    if isinstance(claimed, str) and claimed:
        return claimed
    if document.get("schemaVersion") == 1:
        return media_types.DOCKER_SCHEMA1
    return media_types.OCI_INDEX if "manifests" in document else media_types.OCI_MANIFEST


def _decode(data: bytes, what: str) -> JsonObject:
    try:
        document = _without_nulls(cast("Json", msgspec.json.decode(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameterError(f"invalid {what}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameterError(f"invalid {what}: it is not a JSON object")
    return document


def _without_nulls(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _check_kind(document: JsonObject, what: str, *, forbidden: str) -> None:
    """Refuse a document that is an index and a manifest at once (CVE-2021-41190)."""
    if forbidden in document:
        raise InvalidParameterError(f'invalid {what}: it must not have "{forbidden}"')
    if document.get("schemaVersion") != 2:
        raise InvalidParameterError(
            f"invalid {what}: unsupported schema version {document.get('schemaVersion')}"
        )


def _convert(document: JsonObject, kind: type[_Document], what: str) -> _Document:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InvalidParameterError(f"invalid {what}: {error}") from error


def _check_descriptor(descriptor: Descriptor, what: str) -> None:
    try:
        parse_digest(descriptor.digest)
    except InvalidParameterError as error:
        raise InvalidParameterError(
            f'invalid {what}: digest "{descriptor.digest}": {error}'
        ) from error
    if descriptor.size < 0:
        raise InvalidParameterError(f"invalid {what}: {descriptor.digest} has a negative size")
