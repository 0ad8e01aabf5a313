"""Debian version numbers in their order (deb-version(7)).

``~`` sorts before everything, even the end; letters before other characters; digits by value.
"""

import re
from itertools import zip_longest
from typing import Final

_PART: Final = re.compile(r"(\D*)(\d*)")
_REVISION_OF_NONE: Final = "0"


def compare_versions(left: str, right: str) -> int:
    """Return a negative number, 0 or a positive one as ``left`` is older, equal or newer."""
    for mine, theirs in zip(_split(left), _split(right), strict=True):
        if (order := _compare_part(mine, theirs)) != 0:
            return order
    return 0


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Tell whether ``version`` is in ``relation`` (``>=``, ``<<``, ``=`` …) to ``wanted``."""
    order = compare_versions(version, wanted)
    match relation:
        case ">=":
            return order >= 0
        case "<=":
            return order <= 0
        case ">>":
            return order > 0
        case "<<":
            return order < 0
        case "=":
            return order == 0
        case _:
            return False


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "0", epoch
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, revision, _REVISION_OF_NONE)


def _compare_part(left: str, right: str) -> int:
    pairs = zip_longest(_PART.findall(left), _PART.findall(right), fillvalue=("", ""))
    for (left_text, left_digits), (right_text, right_digits) in pairs:
        if (order := _compare_text(left_text, right_text)) != 0:
            return order
        difference = int(left_digits or 0) - int(right_digits or 0)
        if difference:
            return difference
    return 0


def _compare_text(left: str, right: str) -> int:
    for mine, theirs in zip_longest(left, right, fillvalue=""):
        if (difference := _weight(mine) - _weight(theirs)) != 0:
            return difference
    return 0


def _weight(character: str) -> int:
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
