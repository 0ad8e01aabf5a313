"""What a YAML text becomes: documents, places, and the meaning of plain scalars. Pure."""

import re
from typing import Final, NamedTuple

from kedge.compose.failures import Path
from kedge.lib.jsontypes import Json

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INT: Final = re.compile(r"[-+]?(?:[0-9]{1,40}|0o[0-7]{1,22}|0x[0-9a-fA-F]{1,16})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


class Mark(NamedTuple):
    """A place in a file, counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Document(NamedTuple):
    """One YAML document."""

    data: Json
    marks: dict[Path, Mark]
    cleared: list[Path]
    """Paths with ``!reset`` or ``!override``, to be removed from what came before."""


def resolve_plain(text: str) -> Json:
    """Return what a plain scalar means in YAML's core schema.

    compat: a leading zero is octal, as Compose's own parser has it (``mode: 0440``).
    """
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        sign = -1 if text.startswith("-") else 1
        if digits.startswith(("0o", "0x")):
            return sign * int(digits, 0)
        if digits.startswith("0") and len(digits) > 1 and not set(digits) & {"8", "9"}:
            return sign * int(digits, 8)
        return sign * int(digits)
    return float(text) if _FLOAT.fullmatch(text) else text


def clone(value: Json) -> Json:
    """Return a copy that shares nothing mutable."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    return [clone(item) for item in value] if isinstance(value, list) else value
