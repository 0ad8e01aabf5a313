"""Durations as Go writes them: ``1h2m3.5s``, ``300ms``; and as ``docker ps`` tells them.

A duration is a number of nanoseconds that fits in 64 bits, as in Go's ``time.Duration``.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

_UNITS: Final = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "\u00b5s": MICROSECOND,
    "\u03bcs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_TERM: Final = r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)"
_LIMIT: Final = 1 << 63
_WHOLE_DIGITS: Final = 19
_FRACTION_DIGITS: Final = 18


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a Go duration such as ``-1.5h`` or ``1h15m``.

    Raises:
        InvalidParameterError: It is no duration; the text is Go's.
    """
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    if not body:
        raise InvalidParameterError(f'time: invalid duration "{text}"')
    total = 0
    position = 0
    while position < len(body):
        value, position = _term(text, body, position)
        total += value
    limit = _LIMIT if text[0] == "-" else _LIMIT - 1
    if total > limit:
        raise InvalidParameterError(f'time: invalid duration "{text}"')
    return -total if text[0] == "-" else total


def parse_positive_duration(text: str) -> int:
    """Return the nanoseconds of a duration that may not be negative.

    Raises:
        InvalidParameterError: It is no duration, or below zero.
    """
    value = parse_duration(text)
    if value < 0:
        raise InvalidParameterError("duration cannot be negative")
    return value


def _term(text: str, body: str, position: int) -> tuple[int, int]:
    import re  # noqa: PLC0415 - who only shows durations does without

    match = re.compile(_TERM).match(body, position)
    if match is None or not (match[1] or match[2]):
        raise InvalidParameterError(f'time: invalid duration "{text}"')
    whole, fraction, unit = match[1], (match[2] or "")[:_FRACTION_DIGITS], match[3]
    if len(whole) > _WHOLE_DIGITS:
        raise InvalidParameterError(f'time: invalid duration "{text}"')
    if not unit:
        raise InvalidParameterError(f'time: missing unit in duration "{text}"')
    if unit not in _UNITS:
        raise InvalidParameterError(f'time: unknown unit "{unit}" in duration "{text}"')
    scale = _UNITS[unit]
    value = int(whole or "0") * scale
    if fraction:
        value += int(fraction) * scale // 10 ** len(fraction)
    return value, match.end()


def format_duration(nanoseconds: int) -> str:
    """Return ``nanoseconds`` as Go prints a ``Duration``: ``5m0s``, ``1.5s``, ``0s``."""
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    if rest == 0:
        return "0s"
    if rest < SECOND:
        for unit, scale in (("ns", NANOSECOND), ("\u00b5s", MICROSECOND), ("ms", MILLISECOND)):
            if rest < scale * 1_000:
                return f"{sign}{_decimal(rest, scale)}{unit}"
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds = f"{_decimal(rest, SECOND)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    digits = len(str(scale)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")


def human_duration(nanoseconds: int) -> str:
    """Return the words of ``docker ps``: ``Less than a second``, ``About an hour``, ``2 weeks``."""
    seconds = nanoseconds // SECOND
    minutes = nanoseconds // MINUTE
    hours = (nanoseconds + HOUR // 2) // HOUR
    if seconds < 60:
        return {0: "Less than a second", 1: "1 second"}.get(max(seconds, 0), f"{seconds} seconds")
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    for limit, size, unit in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < limit:
            return f"{days // size} {unit}"
    return f"{nanoseconds // HOUR // 24 // 365} years"
