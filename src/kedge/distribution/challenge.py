"""``WWW-Authenticate``: the challenges of RFC 9110, section 11.6.1, taken apart."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~/-]+")
_EQUALS = re.compile(r"\s*=\s*(?!=)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SEPARATORS = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that the server offers."""

    scheme: str
    """In lower case."""
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    """Names in lower case."""


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all headers in order; what cannot be read ends its header."""
    challenges: list[Challenge] = []
    for header in headers:
        challenges.extend(_parse_header(header))
    return challenges


def _parse_header(header: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = _skip(header, 0)
    while position < len(header):
        token = _TOKEN.match(header, position)
        if token is None:
            break
        equals = _EQUALS.match(header, token.end())
        if equals is None:
            challenges.append(Challenge(token[0].lower()))
            position = _skip(header, token.end())
            continue
        quoted = _QUOTED.match(header, equals.end())
        plain = _TOKEN.match(header, equals.end())
        value = quoted or plain
        if value is None or not challenges:
            break
        text = _ESCAPE.sub(r"\1", quoted[1]) if quoted else value[0]
        challenges[-1].parameters.setdefault(token[0].lower(), text)
        position = _skip(header, value.end())
    return challenges


def _skip(header: str, position: int) -> int:
    match = _SEPARATORS.match(header, position)
    return match.end() if match else position
