"""``--cache-from`` and ``--cache-to``: where build cache comes from and goes to. Pure.

The vocabulary is BuildKit's: ``registry``, ``local`` and ``inline``; a value without a type is the
name of an image. Client and engine read the same text.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from kedge.api.buildoutputs import split_fields
from kedge.errdefs import InvalidParameterError, NotSupportedError

_KEYS: Final = (
    "ref", "src", "dest", "tag", "digest", "mode", "image-manifest", "oci-mediatypes",
    "compression", "compression-level", "force-compression", "ignore-error", "registry.insecure",
)  # fmt: skip
_ELSEWHERE: Final = ("gha", "s3", "azblob")
_TRUE: Final = frozenset({"", "1", "t", "true"})


class CacheKind(StrEnum):
    """Where a cache is."""

    REGISTRY = "registry"
    LOCAL = "local"
    """An OCI layout in a folder of the client's."""
    INLINE = "inline"
    """In the configuration of the image itself."""


class BuildCacheSpec(NamedTuple):
    """One ``--cache-from`` or ``--cache-to``."""

    kind: CacheKind
    place: str = ""
    """The reference of a registry's, the folder of a local one."""
    tag: str = "latest"
    """Of a local one."""
    digest: str = ""
    """Of a local one's document, where it is named so and not by its tag."""
    is_whole: bool = False
    """``mode=max``: also what is not in the image."""
    as_image: bool = True
    """An image manifest, which every registry takes, and not an index."""
    ignores_errors: bool = False


def parse_cache(text: str, *, target: bool) -> BuildCacheSpec:
    """Read the value of one ``--cache-from``, or of one ``--cache-to`` if ``target``.

    Raises:
        InvalidParameterError: A kind, key or value that does not exist.
        NotSupportedError: A cache of a service that kedge does not speak to.
    """
    fields = split_fields(text)
    if fields and not any("=" in item for item in fields):
        return BuildCacheSpec(kind=CacheKind.REGISTRY, place=text)
    attributes: dict[str, str] = {}
    for item in fields:
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidParameterError(f"invalid cache {text}: {item} is no KEY=VALUE")
        attributes[key.strip().lower()] = value
    kind = attributes.pop("type", "")
    if not kind:
        raise InvalidParameterError(f"invalid cache {text}: type is required")
    return make_cache(kind, attributes, target=target)


def make_cache(kind: str, attributes: Mapping[str, str], *, target: bool) -> BuildCacheSpec:
    """Return the cache of a kind and attributes, as BuildKit's API passes them.

    Raises:
        InvalidParameterError: As `parse_cache`.
        NotSupportedError: As `parse_cache`.
    """
    if kind in _ELSEWHERE:
        raise NotSupportedError(
            f"cache type {kind} is not supported: use registry, local or inline"
        )
    if kind not in list(CacheKind):
        raise InvalidParameterError(
            f"cache type {kind} does not exist: use registry, local or inline"
        )
    if kind == CacheKind.INLINE and not target:
        raise InvalidParameterError("cache type=inline is only written: name the image instead")
    for key in attributes:
        if key not in _KEYS:
            raise InvalidParameterError(f"cache type={kind} has no option {key}")
    mode = attributes.get("mode", "min")
    if mode not in {"min", "max"}:
        raise InvalidParameterError(f"cache type={kind}: mode={mode}: use min or max")
    needed = {"registry": "ref", "local": "dest" if target else "src", "inline": ""}[kind]
    if needed and not attributes.get(needed):
        raise InvalidParameterError(f"cache type={kind}: {needed} is required")
    return BuildCacheSpec(
        kind=CacheKind(kind),
        place=attributes.get(needed, ""),
        tag=attributes.get("tag", "latest"),
        digest=attributes.get("digest", ""),
        is_whole=mode == "max",
        as_image=attributes.get("image-manifest", "true").lower() in _TRUE,
        ignores_errors=attributes.get("ignore-error", "false").lower() in _TRUE,
    )
