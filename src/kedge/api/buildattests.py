"""``--provenance``, ``--sbom`` and ``--attest``: what an image is to say of itself. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kedge.api.buildoutputs import split_fields
from kedge.errdefs import InvalidParameterError, NotSupportedError

_TRUE: Final = frozenset({"", "1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})
_KINDS: Final = ("provenance", "sbom")
_PROVENANCE_KEYS: Final = (
    "mode", "version", "builder-id", "reproducible", "inline-only", "filename", "disabled",
)  # fmt: skip


class ProvenanceWish(NamedTuple):
    """How provenance is to be written."""

    is_whole: bool = False
    """``mode=max``: with build arguments, the Dockerfile and every step."""
    version: str = "v1"
    """Of SLSA's predicate: ``v1`` or ``v0.2``."""
    builder_id: str = ""
    is_reproducible: bool = False


class Attests(NamedTuple):
    """Everything an image is to say of itself."""

    provenance: ProvenanceWish | None = None
    sbom: bool = False

    def __bool__(self) -> bool:
        return self.provenance is not None or self.sbom


def parse_attests(attests: Sequence[str], provenance: str, sbom: str) -> dict[str, str]:
    """Return kinds and attributes, as BuildKit passes them, of the values of three flags.

    Args:
        attests: Of ``--attest``: ``type=KIND,KEY=VALUE``.
        provenance: Of ``--provenance``: yes, no, or ``KEY=VALUE``; empty where it is not given.
        sbom: Of ``--sbom``.

    Raises:
        InvalidParameterError: One cannot be read.
    """
    found: dict[str, str] = {}
    for text in attests:
        fields = dict(_pair(text, item) for item in split_fields(text))
        kind = fields.pop("type", "")
        if kind not in _KINDS:
            raise InvalidParameterError(f"attest {text}: type must be one of {', '.join(_KINDS)}")
        found[kind] = ",".join(f"{key}={value}" for key, value in fields.items())
    for kind, text in (("provenance", provenance), ("sbom", sbom)):
        if text:
            found[kind] = f"disabled={text}" if text.lower() in _FALSE else text
            if text.lower() in _TRUE:
                found[kind] = ""
            elif text.lower() in _FALSE:
                found[kind] = "disabled=true"
    return found


def make_attests(given: Mapping[str, str]) -> Attests:
    """Return what attributes of ``attest:KIND`` mean.

    Raises:
        InvalidParameterError: A kind, key or value that does not exist.
        NotSupportedError: Another scanner than kedge's own.
    """
    provenance, sbom = None, False
    for kind, text in given.items():
        fields = dict(_pair(text, item) for item in split_fields(text)) if text else {}
        fields.pop("type", None)
        if fields.get("disabled", "false").lower() in _TRUE:
            continue
        if kind == "provenance":
            provenance = _provenance(fields)
        elif kind == "sbom":
            if fields.get("generator"):
                raise NotSupportedError(
                    f"sbom generator {fields['generator']} is not run: kedge reads the packages"
                    " itself; leave generator out"
                )
            sbom = True
        else:
            raise InvalidParameterError(f"no attestation {kind}: use {', '.join(_KINDS)}")
    return Attests(provenance=provenance, sbom=sbom)


def _provenance(fields: Mapping[str, str]) -> ProvenanceWish:
    for key in fields:
        if key not in _PROVENANCE_KEYS:
            raise InvalidParameterError(f"provenance has no option {key}")
    mode, version = fields.get("mode", "min"), fields.get("version", "v1")
    if mode not in {"min", "max"}:
        raise InvalidParameterError(f"provenance mode={mode}: use min or max")
    if version not in {"v1", "v0.2"}:
        raise InvalidParameterError(f"provenance version={version}: use v1 or v0.2")
    return ProvenanceWish(
        is_whole=mode == "max",
        version=version,
        builder_id=fields.get("builder-id", ""),
        is_reproducible=fields.get("reproducible", "false").lower() in _TRUE,
    )


def _pair(text: str, item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals:
        raise InvalidParameterError(f"attestation {text}: {item} is no KEY=VALUE")
    return key.strip().lower(), value
