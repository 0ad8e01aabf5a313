"""Looking for the detach keys in a terminal's input. Pure."""


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
