"""Values with a form of their own: byte sizes, durations, extra hosts, truth. Pure."""

import math
import re
import shlex
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.lib.durations import HOUR, format_duration, parse_duration
from kedge.lib.jsontypes import Json
from kedge.lib.units import parse_ram

_LONG_UNITS: Final = re.compile(r"([0-9.]+)([dw])")


def parse_bytes(value: Json) -> int:
    """Return the bytes of a size such as ``512m``, ``-1`` or ``655360``."""
    if isinstance(value, (int, float)):
        return int(parse_fraction(value, "size"))
    if not isinstance(value, str):
        raise InvalidParameterError(f"invalid size: '{value}'")
    return -1 if value.strip() == "-1" else parse_ram(value)


def parse_whole(value: Json, what: str, *, base: int = 10) -> int:
    """Return a whole number, in ``base`` where it is text, of at most 64 bits.

    Raises:
        InvalidParameterError: It is none; ``what`` names the attribute.
    """
    try:
        number = int(value, base) if isinstance(value, str) else int(str(value))
    except ValueError:
        raise InvalidParameterError(f"{what}: want a whole number, not {value!r}") from None
    if abs(number) >> 63:
        raise InvalidParameterError(f"{what}: {number} is too large")
    return number


def parse_fraction(value: Json, what: str) -> float:
    """Return a number that has an end.

    Raises:
        InvalidParameterError: It is none; ``what`` names the attribute.
    """
    try:
        number = float(str(value))
    except ValueError:
        raise InvalidParameterError(f"{what}: want a number, not {value!r}") from None
    if not math.isfinite(number):
        raise InvalidParameterError(f"{what}: want a number, not {number}")
    return number


def parse_span(text: str) -> int:
    """Return the nanoseconds of a duration, where ``d`` and ``w`` are known, too."""
    days = 0.0
    for number, unit in _LONG_UNITS.findall(text):
        try:
            days += float(number) * (7 if unit == "w" else 1)
        except ValueError:
            raise InvalidParameterError(f'time: invalid duration "{text}"') from None
    rest = _LONG_UNITS.sub("", text)
    return int(days * 24 * HOUR) + (parse_duration(rest) if rest or not days else 0)


def canonical_span(text: str) -> str:
    """Return a duration as it is printed: ``1m30s``."""
    return format_duration(parse_span(text))


def parse_truth(text: str) -> bool:
    """Return what a text means where a boolean is due; YAML 1.1's words count."""
    word = text.lower()
    if word in {"true", "y", "yes", "on"}:
        return True
    if word in {"false", "n", "no", "off"}:
        return False
    raise InvalidParameterError(f"invalid boolean: {text}")


def shell_words(text: str) -> list[str]:
    """Return the words of a command line, parted as a shell would but run by none."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidParameterError(f"invalid command line string: {str(error).lower()}") from None


def parse_extra_hosts(value: Json) -> dict[str, list[str]]:
    """Return addresses by host name, from a list or a mapping."""
    hosts: dict[str, list[str]] = {}
    if isinstance(value, dict):
        for name, addresses in value.items():
            items = addresses if isinstance(addresses, list) else [addresses]
            hosts[name] = [_bare(str(item)) for item in items]
        return hosts
    for entry in value if isinstance(value, list) else [value]:
        text = str(entry)
        name, separator, addresses = text.partition("=")
        if not separator:
            name, separator, addresses = text.partition(":")
        if not separator:
            raise InvalidParameterError(f"missing separator in extra host: {text}")
        if not name or ":" in name or addresses.startswith("=") or not addresses:
            raise InvalidParameterError(f"bad host name '{name}' in extra host: {text}")
        for address in addresses.split(","):
            known = hosts.setdefault(name, [])
            if _bare(address) not in known:
                known.append(_bare(address))
    return hosts


def _bare(address: str) -> str:
    inner = address.strip()
    return inner[1:-1] if inner.startswith("[") and inner.endswith("]") else inner
