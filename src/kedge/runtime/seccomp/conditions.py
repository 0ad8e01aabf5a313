"""One condition on one argument, in 32-bit steps: classic BPF knows no wider number.

``seccomp_data.args`` are 64-bit; a 32-bit architecture's calls only use the lower half, which is
all that is looked at then, as in libseccomp.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.seccomp.assembler import (
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_GREATER_EQUAL,
    Assembler,
)

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec_seccomp import SeccompArgument


_ARGS_OFFSET: Final = 16  # offsetof(struct seccomp_data, args)
_WORD: Final = 0xFFFF_FFFF

# The same comparison with the answers exchanged.
_OPPOSITE: Final = {
    "SCMP_CMP_NE": "SCMP_CMP_EQ",
    "SCMP_CMP_LT": "SCMP_CMP_GE",
    "SCMP_CMP_LE": "SCMP_CMP_GT",
}


def emit(
    assembler: Assembler, argument: SeccompArgument, *, yes: int, no: int, is_wide: bool
) -> int:
    """Emit the comparison; go on at ``yes`` or ``no``.

    Args:
        assembler: Where to.
        argument: The condition.
        yes: Label to go to when it holds.
        no: Label to go to otherwise.
        is_wide: Compare 64 bits, not the lower 32.
    """
    op = argument.op
    if op in _OPPOSITE:
        op, yes, no = _OPPOSITE[op], no, yes
    low = _ARGS_OFFSET + 8 * argument.register
    high = low + 4
    if op == "SCMP_CMP_MASKED_EQ":
        # Bits outside the mask could never be equal; libseccomp does not look at them either.
        mask, value = argument.value, argument.value_two & argument.value
        label = _masked(assembler, low, (mask & _WORD, value & _WORD), yes=yes, no=no)
        if is_wide:
            label = _masked(assembler, high, (mask >> 32, value >> 32), yes=label, no=no)
        return label
    value_high, value_low = argument.value >> 32, argument.value & _WORD
    last = {"SCMP_CMP_GT": JUMP_GREATER, "SCMP_CMP_GE": JUMP_GREATER_EQUAL}.get(op, JUMP_EQUAL)
    label = assembler.load(low, assembler.jump(last, value_low, yes, no))
    if not is_wide:
        return label
    label = assembler.jump(JUMP_EQUAL, value_high, label, no)
    if op != "SCMP_CMP_EQ":
        label = assembler.jump(JUMP_GREATER, value_high, yes, label)
    return assembler.load(high, label)


def _masked(assembler: Assembler, offset: int, pair: tuple[int, int], *, yes: int, no: int) -> int:
    mask, value = pair
    if mask == 0:
        return yes
    label = assembler.jump(JUMP_EQUAL, value, yes, no)
    return assembler.load(offset, assembler.mask(mask, label))
