from hypothesis import given
from hypothesis import strategies as st

from kedge.runtime.seccomp.assembler import (
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_GREATER_EQUAL,
    Assembler,
)
from tests.unit.runtime_seccomp.bpf_machine import Call, decode, run


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=700, unique=True), st.integers(0, 5000))
def test_a_chain_of_any_length_reaches_every_answer(numbers: list[int], number: int) -> None:
    assembler = Assembler()
    label = none = assembler.give(0x7FFF_0000)
    for position, value in enumerate(numbers):
        label = assembler.jump(JUMP_EQUAL, value, assembler.give(0x50000 | position), label)
    # Both targets far away at once.
    label = assembler.jump(JUMP_GREATER, 4000, none, label)
    assembler.load(0, label)
    code = decode(assembler.program())
    expected = 0x7FFF_0000
    if number in numbers and number <= 4000:
        expected = 0x50000 | numbers.index(number)
    assert run(code, Call(0, number)) == expected


def test_a_return_in_reach_is_shared_and_one_out_of_reach_is_not() -> None:
    assembler = Assembler()
    assert assembler.give(1) == assembler.give(1)
    first = label = assembler.give(1)
    for _ in range(300):
        label = assembler.jump(JUMP_GREATER_EQUAL, 5, label, label)
    assert assembler.give(1) != first
