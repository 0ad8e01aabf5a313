"""Where zstd frames begin and end, without inflating them (RFC 8878, section 3).

zstandard's bounded reader takes the end of its input for the end of the data. `FrameScanner`
watches the same bytes go by and knows whether the last frame was complete.
"""

from typing import Final

_MAGIC: Final = 0xFD2FB528
_SKIPPABLE: Final = 0x184D2A50
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES: Final = (0, 2, 4, 8)
_RLE: Final = 1


class FrameScanner:
    """Follows the structure of a zstd stream; damage is the decoder's to find."""

    def __init__(self) -> None:
        """Expect the start of a frame."""
        self._skip = 0
        self._field = b""
        self._wanted = 4
        self._step = self._on_magic
        self._has_checksum = False

    @property
    def complete(self) -> bool:
        """Every frame that began has also ended."""
        return self._step == self._on_magic and not self._field and not self._skip

    def feed(self, data: bytes) -> None:
        """Look at the next bytes of the stream."""
        position = 0
        while position < len(data):
            if self._skip:
                jump = min(self._skip, len(data) - position)
                self._skip -= jump
                position += jump
                continue
            part = data[position : position + self._wanted - len(self._field)]
            position += len(part)
            self._field += part
            if len(self._field) == self._wanted:
                field, self._field = self._field, b""
                self._step(field)

    def _expect_magic(self) -> None:
        self._wanted, self._step = 4, self._on_magic

    def _expect_block(self) -> None:
        self._wanted, self._step = 3, self._on_block

    def _on_magic(self, field: bytes) -> None:
        magic = int.from_bytes(field, "little")
        if magic & ~0xF == _SKIPPABLE:
            self._wanted, self._step = 4, self._on_skippable
        elif magic == _MAGIC:
            self._wanted, self._step = 1, self._on_descriptor

    def _on_skippable(self, field: bytes) -> None:
        self._skip = int.from_bytes(field, "little")
        self._expect_magic()

    def _on_descriptor(self, field: bytes) -> None:
        descriptor = field[0]
        is_single = descriptor >> 5 & 1
        size = _CONTENT_SIZE_BYTES[descriptor >> 6]
        if descriptor >> 6 == 0 and is_single:
            size = 1
        self._has_checksum = bool(descriptor & 4)
        self._skip = (1 - is_single) + _DICTIONARY_BYTES[descriptor & 3] + size
        self._expect_block()

    def _on_block(self, field: bytes) -> None:
        header = int.from_bytes(field, "little")
        self._skip = 1 if header >> 1 & 3 == _RLE else header >> 3
        if header & 1:
            self._skip += 4 if self._has_checksum else 0
            self._expect_magic()
