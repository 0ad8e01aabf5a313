"""Number fields of tar headers: octal text, GNU base-256, and the decimal times of PAX.

Pure functions over bytes, after POSIX.1-2017 pax and the GNU tar manual ("Extensions").
"""

import re
from functools import lru_cache
from typing import Final

from kedge.errdefs import InvalidParameterError

_TIME: Final = re.compile(rb"(-?)(\d{1,20})(?:\.(\d*))?")
_NANOS: Final = 1_000_000_000


def parse_number(field: bytes) -> int:
    """Return the value of a fixed-width number field; blank is 0.

    Raises:
        InvalidParameterError: The field is neither octal nor base-256.
    """
    if field[0] & 0x80:
        return _parse_base256(field)
    digits = field.strip(b" \0")
    if not digits:
        return 0
    # Old writers leave bytes of an earlier, longer number behind the terminator.
    digits = digits.partition(b"\0")[0].rstrip()
    # isdigit() keeps out the signs and underscores that int() would take.
    if not digits.isdigit():
        raise InvalidParameterError(f"damaged tar header: {field!r} is not a number")
    try:
        return int(digits, 8)
    except ValueError:
        raise InvalidParameterError(f"damaged tar header: {field!r} is not octal") from None


# Owners, modes and device numbers repeat from entry to entry.
parse_repeated_number = lru_cache(maxsize=1024)(parse_number)


def _parse_base256(field: bytes) -> int:
    # Bit 7 marks the form, bit 6 is the sign of the two's complement that follows.
    value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    if field[0] & 0x40:
        value -= 1 << (8 * len(field) - 1)
    return value


def format_number(value: int, width: int) -> bytes:
    """Return ``value`` as octal with a terminating NUL, or as base-256 where that is too small."""
    if fits_octal(value, width):
        return b"%0*o\0" % (width - 1, value)
    limit = 1 << (8 * width - 2)
    if not -limit <= value < limit:
        raise InvalidParameterError(f"{value} does not fit in a tar header")
    encoded = bytearray((value & ((1 << (8 * width - 1)) - 1)).to_bytes(width, "big"))
    encoded[0] |= 0x80
    return bytes(encoded)


def fits_octal(value: int, width: int) -> bool:
    """Tell whether ``value`` can be written as octal in ``width`` bytes."""
    return 0 <= value < 1 << (3 * (width - 1))


def parse_decimal(text: bytes, what: str) -> int:
    """Return a non-negative decimal number of a PAX record."""
    if not text.isdigit() or len(text) > 20:
        raise InvalidParameterError(f"damaged tar header: {what} {text[:32]!r} is not a number")
    return int(text)


def parse_pax_time(text: bytes) -> int:
    """Return the nanoseconds of a decimal time such as ``1700000000.123456789``."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidParameterError(f"damaged tar header: time {text[:32]!r} is not a number")
    sign, seconds, fraction = match.groups()
    nanos = int(seconds) * _NANOS + int((fraction or b"")[:9].ljust(9, b"0"))
    return -nanos if sign else nanos


def format_pax_time(time_ns: int) -> bytes:
    """Return the shortest decimal form that `parse_pax_time` reads back exactly."""
    seconds, nanos = divmod(abs(time_ns), _NANOS)
    text = b"%d.%09d" % (seconds, nanos)
    return (b"-" if time_ns < 0 else b"") + text.rstrip(b"0").rstrip(b".")
