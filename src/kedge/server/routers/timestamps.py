"""Points in time and line counts, as clients write them in query parameters. Pure."""

from datetime import UTC, datetime
from typing import Final

from kedge.errdefs import InvalidParameterError

_NANOSECONDS: Final = 1_000_000_000
_MAX_SECONDS_DIGITS: Final = 12


def parse_timestamp(text: str) -> int:
    """Return nanoseconds since the epoch for ``seconds[.nanoseconds]`` or RFC 3339; "" is 0.

    Go clients send the first form, whatever the user typed; people with curl send the second.

    Raises:
        InvalidParameterError: It is neither.
    """
    if not text:
        return 0
    seconds, _, fraction = text.partition(".")
    sign = -1 if seconds.startswith("-") else 1
    digits = seconds.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_SECONDS_DIGITS:
        if fraction and not (fraction.isascii() and fraction.isdigit()):
            raise InvalidParameterError(f"invalid timestamp: {text[:40]!r}")
        return sign * (int(digits) * _NANOSECONDS + int(f"{fraction[:9]:<09}"))
    return _parse_rfc3339(text)


def parse_tail(text: str) -> int:
    """Return a number of lines; -1, meaning all, for ``all``, nothing and nonsense, as Docker."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1


def _parse_rfc3339(text: str) -> int:
    main, dot, rest = text.partition(".")
    fraction = ""
    if dot:
        # Python reads microseconds only; Docker's clocks have nanoseconds.
        fraction = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        main += rest[len(fraction) :]
    try:
        moment = datetime.fromisoformat(main)
    except ValueError:
        raise InvalidParameterError(f"invalid timestamp: {text[:40]!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NANOSECONDS + int(f"{fraction[:9]:<09}")
