"""Detach keys: from Docker's spelling (``ctrl-p,ctrl-q``, ``ctrl-@``, ``x``) to bytes. Pure.

Vocabulary and accepted forms: moby `term.ToBytes`.
"""

from typing import Final

from kedge.errdefs import InvalidParameterError

DEFAULT_DETACH_KEYS: Final = b"\x10\x11"

_CTRL_SYMBOLS: Final = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of a comma-separated key sequence; empty text means the default.

    Raises:
        InvalidParameterError: A key is unknown; Docker's text.
    """
    if not text:
        return DEFAULT_DETACH_KEYS
    return bytes(_parse_key(key) for key in text.split(","))


def _parse_key(key: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    if len(key) == 6 and key[:5].lower() == "ctrl-":
        symbol = key[5].lower()
        if "a" <= symbol <= "z":
            return ord(symbol) - ord("a") + 1
        if symbol in _CTRL_SYMBOLS:
            return _CTRL_SYMBOLS[symbol]
    raise InvalidParameterError(f"invalid detach keys ({key}) provided: Unknown character: '{key}'")
