"""Shell patterns of ``${name#pattern}``: ``*``, ``?`` and the backslash, without brackets.

A pattern becomes a regular expression. The shortest suffix is found by matching the reversed
pattern at the start of the reversed value, because expressions look for the leftmost match.
"""

import re
from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError

_REGEX_CHARACTERS: Final = frozenset("[]{}.+()|^$")


def pattern_to_regex(pattern: str, *, longest: bool, anchored: bool) -> str:
    """Return the regular expression that ``pattern`` means.

    Raises:
        DockerfileError: A backslash stands before a character that needs none, or at the end.
    """
    out = ["^"] if anchored else []
    characters = iter(range(len(pattern)))
    for index in characters:
        char = pattern[index]
        if char == "*":
            out.append(".*" if longest else ".*?")
        elif char == "?":
            out.append(".")
        elif char == "\\":
            following = pattern[index + 1 : index + 2]
            if following in ("}", "/"):
                continue
            if following not in ("*", "?", "\\"):
                raise DockerfileError(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'"
                )
            out.append("\\" + following)
            next(characters)
        else:
            out.append("\\" + char if char in _REGEX_CHARACTERS else char)
    return "".join(out)


def reverse_pattern(pattern: str) -> str:
    """Return ``pattern`` backwards with every escape still before the character it escapes."""
    units: list[str] = []
    index = 0
    while index < len(pattern):
        width = 2 if pattern[index] == "\\" else 1
        units.append(pattern[index : index + width])
        index += width
    return "".join(reversed(units))


def _compile(pattern: str, *, longest: bool, anchored: bool) -> re.Pattern[str]:
    return re.compile(pattern_to_regex(pattern, longest=longest, anchored=anchored), re.DOTALL)


def trim_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Return ``value`` without the shortest or longest prefix that matches ``pattern``."""
    match = _compile(pattern, longest=longest, anchored=True).match(value)
    return value[match.end() :] if match else value


def trim_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Return ``value`` without the shortest or longest suffix that matches ``pattern``."""
    return trim_prefix(value[::-1], reverse_pattern(pattern), longest=longest)[::-1]


def replace_pattern(value: str, pattern: str, replacement: str, *, every: bool) -> str:
    """Return ``value`` with the first, or every, longest match of ``pattern`` replaced."""
    regex = _compile(pattern, longest=True, anchored=False)
    return regex.sub(lambda _: replacement, value, count=0 if every else 1)
