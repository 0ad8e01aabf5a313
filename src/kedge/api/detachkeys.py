"""Detach keys: from Docker's spelling (``ctrl-p,ctrl-q``) to bytes, and finding them. Pure.

Vocabulary and accepted forms: moby `term.ToBytes`.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


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


class DetachScanner:
    """Looks for the sequence in input that comes in pieces.

    Bytes that may be the start of the sequence are held back until the next ones decide.
    """

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        """Look for ``keys``; empty keys are never found."""
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return the bytes to pass on, and whether the sequence is complete.

        What follows a complete sequence is dropped.
        """
        keys = self._keys
        if not keys or (not self._held and keys[0] not in data):
            return data, False
        text = keys[: self._held] + data
        found = text.find(keys)
        if found >= 0:
            self._held = 0
            return text[:found], True
        self._held = next(
            length
            for length in range(min(len(keys) - 1, len(text)), -1, -1)
            if text.endswith(keys[:length])
        )
        return text[: len(text) - self._held], False

    def flush(self) -> bytes:
        """Return what is held back, at the end of the input."""
        held = self._keys[: self._held]
        self._held = 0
        return held
