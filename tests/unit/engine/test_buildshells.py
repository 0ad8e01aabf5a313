"""Which programs of the host can be lent to a file system without libraries."""

import struct
from pathlib import Path

from kedge.engine.buildshells import is_static


def elf(*kinds: int, order: str = "<") -> bytes:
    """Return the beginning of a 64-bit program with segments of these kinds."""
    marks = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(10)
    head = struct.pack(f"{order}HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(kinds), 0, 0, 0)
    return marks + head + b"".join(struct.pack(f"{order}I", kind) + bytes(52) for kind in kinds)


def test_a_program_with_a_loader_is_not_lent(tmp_path: Path) -> None:
    program = tmp_path / "program"
    for content, expected in (
        (elf(1, 1), True),
        (elf(1, 1, order=">"), True),
        (elf(1, 3, 1), False),
        (elf(3, order=">"), False),
        (b"#!/bin/sh\n" * 20, False),
        (b"\x7fELF\x02", False),
        (b"", False),
    ):
        program.write_bytes(content)
        assert is_static(str(program)) is expected, content[:70]
    assert not is_static(str(tmp_path / "missing"))
