"""Classic BPF, assembled from the end: a jump's target is always emitted before the jump.

Classic BPF only jumps forward, and a conditional jump at most 255 instructions. Building backwards
makes every distance known; what is too far goes over an unconditional jump in between, or over a
copy where the target is a plain return. Instruction numbers of ``include/uapi/linux/bpf_common.h``.
"""

from __future__ import annotations

import struct

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA
_RETURN: Final = 0x06  # BPF_RET | BPF_K
JUMP_EQUAL: Final = 0x15
JUMP_GREATER: Final = 0x25
JUMP_GREATER_EQUAL: Final = 0x35

_REACH: Final = 255
_MAX_INSTRUCTIONS: Final = 4096


class Assembler:
    """A program that grows at its beginning.

    Every method emits one instruction in front and returns its label: the number of instructions
    from there to the end.
    """

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._returns: dict[int, int] = {}

    def program(self) -> bytes:
        """Return the ``struct sock_filter`` array.

        Raises:
            InvalidParameterError: The kernel takes no program that long.
        """
        if len(self._code) > _MAX_INSTRUCTIONS:
            raise InvalidParameterError(
                f"seccomp: the profile needs {len(self._code)} instructions, "
                f"the kernel takes {_MAX_INSTRUCTIONS}"
            )
        return b"".join(struct.pack("=HBBI", *line) for line in reversed(self._code))

    def give(self, value: int) -> int:
        """End the program with ``value``; a return that is in reach is used again."""
        label = self._returns.get(value, 0)
        if label and self._distance(label) < _REACH:
            return label
        self._returns[value] = self._emit(_RETURN, 0, 0, value)
        return self._returns[value]

    def load(self, offset: int, then: int) -> int:
        """Load the word at ``offset`` of ``struct seccomp_data``, then go on at ``then``."""
        self._fall_to(then)
        return self._emit(_LOAD, 0, 0, offset)

    def mask(self, bits: int, then: int) -> int:
        """Keep only ``bits`` of the loaded word, then go on at ``then``."""
        self._fall_to(then)
        return self._emit(_AND, 0, 0, bits)

    def jump(self, condition: int, value: int, yes: int, no: int) -> int:
        """Go on at ``yes`` if the loaded word compares so with ``value``, otherwise at ``no``."""
        # A bridge for one target moves the other one instruction farther away.
        if self._distance(yes) >= _REACH:
            yes = self._bridge(yes)
        if self._distance(no) > _REACH:
            no = self._bridge(no)
        return self._emit(condition, self._distance(yes), self._distance(no), value)

    def _distance(self, label: int) -> int:
        """Return the jump offset from the instruction about to be emitted to ``label``."""
        return len(self._code) - label

    def _bridge(self, label: int) -> int:
        code, _, _, value = self._code[label - 1]
        if code == _RETURN:
            return self._emit(_RETURN, 0, 0, value)
        return self._emit(_JUMP, 0, 0, self._distance(label))

    def _fall_to(self, label: int) -> None:
        if self._distance(label):
            self._bridge(label)

    def _emit(self, code: int, yes: int, no: int, value: int) -> int:
        self._code.append((code, yes, no, value))
        return len(self._code)
