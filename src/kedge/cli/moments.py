"""``--since`` and ``--until``: a moment as people write it, for the engine. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from kedge.errdefs import InvalidParameterError
from kedge.lib.durations import parse_duration
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_UNIX: Final = re.compile(r"\d+(\.\d+)?")
_DECIMALS: Final = re.compile(r"[.,](\d+)")
_FRACTION: Final = re.compile(r"(\.\d{6})\d+")


def engine_moment(text: str, now_s: float) -> str:
    """Return seconds since 1970 for a duration before now, a date, or such seconds.

    Raises:
        InvalidParameterError: It is none of them.
    """
    if not text or _UNIX.fullmatch(text):
        return text
    try:
        return f"{now_s - parse_duration(text) / 10**9:.9f}"
    except InvalidParameterError:
        pass
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
    except ValueError:
        raise InvalidParameterError(
            f"invalid time: {text}: want a duration such as 10m, or a date: 2026-01-31T12:00:00"
        ) from None
    # Neither a float nor a datetime holds the nanoseconds of a line's stamp.
    found = _DECIMALS.search(text)
    seconds = int(moment.astimezone().replace(microsecond=0).timestamp())
    return f"{seconds}.{(found[1] if found else '')[:9]:0<9}"


def go_time(text: str) -> str:
    """Return a moment the engine wrote (RFC 3339) as Go prints it; anything else as it is."""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
    except ValueError:
        return text
    found = re.search(r"\.\d+", text)
    fraction = found[0].rstrip("0") if found else ""
    zone = moment.strftime("%z")
    name = "UTC" if zone in {"", "+0000"} else zone
    return f"{moment:%Y-%m-%d %H:%M:%S}{'' if fraction == '.' else fraction} {zone} {name}"


def seconds_of(text: str) -> float:
    """Return seconds since 1970 of a moment the engine wrote (RFC 3339); 0 for anything else."""
    try:
        return datetime.fromisoformat(_FRACTION.sub(r"\1", text)).timestamp()
    except ValueError:
        return 0.0
