"""Sizes as Docker reads and writes them: ``512m``, ``1.5GB``, ``12.3MiB``. Pure.

Source of the rules: docker/go-units. ``--memory`` counts in powers of 1024 and tables of images in
powers of 1000, both with the same letters.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_NUMBER: Final = r"[-+]?(\d+\.?\d*|\.\d+)"
_SUFFIX: Final = r"b?|[kmgtp](i?b)?"
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DECIMAL: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def parse_ram(text: str) -> int:
    """Return the bytes in ``text``, where ``k`` is 1024.

    Raises:
        InvalidParameterError: No size.
    """
    return _parse(text, 1024)


def parse_size(text: str) -> int:
    """Return the bytes in ``text``, where ``k`` is 1000.

    Raises:
        InvalidParameterError: No size.
    """
    return _parse(text, 1000)


def _parse(text: str, base: int) -> int:
    import re  # noqa: PLC0415 - who only shows sizes does without

    # The number ends at the last digit, dot or space, so that "32 kB" has one space at most.
    end = 1 + max(text.rfind(char) for char in "0123456789. ")
    number, suffix = text[:end].removesuffix(" "), text[end:].lower()
    if not re.fullmatch(_NUMBER, number) or float(number) < 0 or not re.fullmatch(_SUFFIX, suffix):
        raise InvalidParameterError(f"invalid size: '{text}'")
    return int(float(number) * base ** _POWERS[suffix[:1].replace("b", "")])


def format_size(size_bytes: float, *, digits: int = 4) -> str:
    """Return a size in powers of 1000 with ``digits`` significant digits, such as ``12.3MB``."""
    return _format(size_bytes, 1000, _DECIMAL, digits)


def format_ram(size_bytes: float) -> str:
    """Return a size in powers of 1024, such as ``1.5GiB``."""
    return _format(size_bytes, 1024, _BINARY, 4)


def _format(size: float, base: int, names: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{names[index]}"
