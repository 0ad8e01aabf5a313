r"""``-v``: is there a source, and where is it. Pure; Docker reads the same texts on every system.

The value itself goes to the engine as it is, except for relative host paths, which the client
makes absolute. Source of the grammar: docker/cli ``internal/volumespec``.
"""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})


class VolumeSpec(NamedTuple):
    """One ``-v`` value."""

    kind: str
    """``bind`` or ``volume``."""
    source: str
    target: str
    read_only: bool = False
    propagation: str = ""
    no_copy: bool = False


def parse_volume(text: str) -> VolumeSpec:
    """Return the parts of one ``-v`` value; options it does not know are the engine's business.

    Raises:
        InvalidParameterError: It is empty, or has an empty or too many parts.
    """
    if not text:
        raise InvalidParameterError("invalid empty volume spec")
    parts = _split(text)
    if len(parts) == 1:
        return VolumeSpec("volume", "", parts[0])
    if len(parts) > 3:
        raise InvalidParameterError(f"invalid spec: {text}: too many colons")
    if not all(parts):
        raise InvalidParameterError(f"invalid spec: {text}: empty section between colons")
    options = parts[2].split(",") if len(parts) == 3 else []
    is_path = parts[0][0] in "./~\\" or _has_drive(parts[0])
    return VolumeSpec(
        kind="bind" if is_path else "volume",
        source=parts[0],
        target=parts[1],
        read_only="ro" in options,
        propagation=next((option for option in options if option in _PROPAGATION), ""),
        no_copy="nocopy" in options,
    )


def _split(text: str) -> list[str]:
    """Split at colons, but not behind a drive letter."""
    parts: list[str] = []
    position = 0
    while True:
        end = text.find(":", position + 2 if _has_drive(text[position:]) else position)
        if end < 0:
            parts.append(text[position:])
            return parts
        parts.append(text[position:end])
        position = end + 1


def _has_drive(text: str) -> bool:
    letter = text[:1].isascii() and text[:1].isalpha()
    return letter and text[1:2] == ":" and text[2:3] in {"", "\\", "/", ":"}


def has_source(text: str) -> bool:
    """Whether a ``-v`` value names something outside the container."""
    parts = _split(text)
    return len(parts) > 1 and bool(parts[0])


def sort_volumes(values: Iterable[str], folder: str) -> tuple[list[str], list[str]]:
    """Return binds, with host paths absolute, and targets of anonymous volumes.

    Args:
        values: ``-v`` values.
        folder: What relative host paths are relative to.

    Raises:
        InvalidParameterError: A value is malformed.
    """
    binds: list[str] = []
    anonymous: list[str] = []
    for text in values:
        spec = parse_volume(text)
        if not spec.source:
            anonymous.append(spec.target)
            continue
        source = spec.source
        if source.startswith("."):
            source = os.path.normpath(os.path.join(folder, source))
        elif source.startswith("~"):
            source = os.path.expanduser(source)
        binds.append(source + text[len(spec.source) :])
    return binds, anonymous
