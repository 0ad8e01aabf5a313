"""``--output``: where the result of a build goes, as BuildKit names it. Pure.

The vocabulary is BuildKit's exporters: ``image``, ``registry``, ``local``, ``tar``, ``oci``,
``docker``, ``cacheonly``; ``moby`` is what the docker driver of buildx calls ``image``. Client and
engine read the same text: the client keeps ``dest``, which names something of its own.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError

_ANNOTATIONS: Final = ("annotation.", "annotation[", "annotation-")
_COMPRESSIONS: Final = ("gzip", "zstd", "uncompressed")
_IMAGE_KEYS: Final = (
    "name", "compression", "compression-level", "force-compression", "oci-mediatypes",
    "rewrite-timestamp", "unpack", "store", "push", "push-by-digest", "name-canonical",
    "dangling-name-prefix", "buildinfo", "buildinfo-attrs", "attestation-inline",
    "attestation-prefix", "prefer-image-digest", "registry.insecure", "context",
)  # fmt: skip
_FILE_KEYS: Final = ("dest", "tar", "mode", "platform-split")
_TRUE: Final = frozenset({"", "1", "t", "true", "yes"})
_FALSE: Final = frozenset({"0", "f", "false", "no"})
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_LEVELS: Final = {"gzip": 9, "zstd": 22, "uncompressed": 22}


class OutputKind(StrEnum):
    """What becomes of a result."""

    IMAGE = "image"
    """An image in the store."""
    REGISTRY = "registry"
    LOCAL = "local"
    """The files, in a folder."""
    TAR = "tar"
    """The files, in an archive."""
    OCI = "oci"
    """The image, as an OCI layout."""
    DOCKER = "docker"
    """The image, as ``docker load`` reads it."""
    CACHE_ONLY = "cacheonly"


SENT_BACK: Final = frozenset({OutputKind.LOCAL, OutputKind.TAR, OutputKind.OCI, OutputKind.DOCKER})
"""The kinds whose bytes go to whoever asked for the build."""


class BuildOutput(NamedTuple):
    """One ``--output``."""

    kind: OutputKind
    destination: str = ""
    """A path of the client's, ``-`` for its standard output; means nothing to the engine."""
    names: tuple[str, ...] = ()
    push: bool = False
    push_by_digest: bool = False
    compression: str = ""
    """Of layers; empty leaves them as they are."""
    level: int | None = None
    force_compression: bool = False
    """Also base layers that have another compression."""
    oci_types: bool | None = None
    """False for Docker's media types; None for what is usual for the kind."""
    as_folder: bool = False
    """An OCI layout in a folder: ``tar=false``."""
    platform_split: bool | None = None
    """A folder for each platform; None for "if there are several"."""
    annotations: Mapping[str, str] = _NONE
    """Of the manifest."""
    index_annotations: Mapping[str, str] = _NONE


def parse_output(text: str) -> BuildOutput:
    """Read the value of one ``--output``: ``type=…,key=value,…``, a folder, or ``-``.

    Raises:
        InvalidParameterError: A kind, key or value that does not exist; the text says what does.
    """
    if text == "-":
        return BuildOutput(kind=OutputKind.TAR, destination="-")
    fields = split_fields(text)
    if not any("=" in item for item in fields):
        if len(fields) != 1 or not text:
            raise InvalidParameterError(f"invalid output {text}: want type=TYPE,dest=PATH")
        return BuildOutput(kind=OutputKind.LOCAL, destination=text)
    attributes: dict[str, str] = {}
    for item in fields:
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidParameterError(f"invalid output {text}: {item} is no KEY=VALUE")
        attributes[key.strip().lower() if not key.startswith("annotation") else key] = value
    kind = attributes.pop("type", "")
    if not kind:
        raise InvalidParameterError(f"invalid output {text}: type is required")
    return make_output(kind, attributes)


def make_output(kind: str, attributes: Mapping[str, str]) -> BuildOutput:
    """Return the output of a kind and attributes, as BuildKit's API passes them.

    Raises:
        InvalidParameterError: As `parse_output`.
    """
    found = _kind(kind)
    _check_keys(found, attributes)
    compression = attributes.get("compression", "")
    if compression and compression not in _COMPRESSIONS:
        raise InvalidParameterError(
            f"output type={found}: compression {compression} is not supported: use "
            + ", ".join(_COMPRESSIONS)
        )
    destination = attributes.get("dest", "")
    if found is OutputKind.LOCAL and not destination and "dest" in attributes:
        raise InvalidParameterError("output type=local: dest is required")
    return BuildOutput(
        kind=found,
        destination=destination,
        names=tuple(name for name in attributes.get("name", "").split(",") if name),
        push=_flag(attributes, "push") or found is OutputKind.REGISTRY,
        push_by_digest=_flag(attributes, "push-by-digest"),
        compression=compression,
        level=_level(compression, attributes.get("compression-level", "")),
        force_compression=_flag(attributes, "force-compression"),
        oci_types=_flag(attributes, "oci-mediatypes") if "oci-mediatypes" in attributes else None,
        as_folder="tar" in attributes and not _flag(attributes, "tar"),
        platform_split=_flag(attributes, "platform-split")
        if "platform-split" in attributes
        else None,
        annotations=_annotations(attributes, ("annotation.", "annotation-manifest.")),
        index_annotations=_annotations(attributes, ("annotation-index.",)),
    )


def split_fields(text: str) -> list[str]:
    """Return the fields of a value with commas, quoted as in a CSV file.

    Raises:
        InvalidParameterError: The quotes or line ends make no sense.
    """
    if '"' not in text and "\n" not in text and "\r" not in text:
        return text.split(",") if text else []
    import csv  # noqa: PLC0415 - rarely needed

    try:
        rows = list(csv.reader([text]))
    except csv.Error as error:
        raise InvalidParameterError(f"invalid value {text!r}: {error}") from None
    return rows[0] if rows else []


def _kind(text: str) -> OutputKind:
    if text == "moby":
        return OutputKind.IMAGE
    try:
        return OutputKind(text)
    except ValueError:
        known = ", ".join(OutputKind)
        raise InvalidParameterError(
            f"output type {text} does not exist{_guess(text, list(OutputKind))}: use one of {known}"
        ) from None


def _check_keys(kind: OutputKind, attributes: Mapping[str, str]) -> None:
    for key in attributes:
        if key.startswith(_ANNOTATIONS):
            continue
        if key not in (*_IMAGE_KEYS, *_FILE_KEYS):
            raise InvalidParameterError(
                f"output type={kind} has no option {key}{_guess(key, [*_IMAGE_KEYS, *_FILE_KEYS])}"
            )


def _guess(word: str, known: list[str]) -> str:
    import difflib  # noqa: PLC0415 - only for an error

    found = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def _flag(attributes: Mapping[str, str], key: str) -> bool:
    if key not in attributes:
        return False
    value = attributes[key].lower()
    if value not in _TRUE | _FALSE:
        raise InvalidParameterError(f"output option {key}={value}: use true or false")
    return value in _TRUE


def _level(compression: str, text: str) -> int | None:
    if not text:
        return None
    most = _LEVELS.get(compression or "gzip", 9)
    if not (text.isascii() and text.isdecimal() and int(text) <= most):
        raise InvalidParameterError(
            f"output option compression-level={text}: use a number from 0 to {most}"
        )
    return int(text)


def _annotations(attributes: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """Return the annotations of these prefixes; ``[PLATFORM]`` after the kind is left off."""
    found: dict[str, str] = {}
    for key, value in attributes.items():
        kind, dot, name = key.partition(".")
        kind = kind.partition("[")[0]
        if dot and f"{kind}." in prefixes:
            found[name] = value
    return found
