"""A classic BPF interpreter, as strict as the kernel's checker about what it accepts."""

import struct
from typing import NamedTuple


class Call(NamedTuple):
    """``struct seccomp_data`` without the instruction pointer."""

    arch: int
    number: int
    args: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    def pack(self) -> bytes:
        return struct.pack("=IIQ6Q", self.number, self.arch, 0, *self.args)


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    """Return (code, jt, jf, k) per instruction."""
    return list(struct.iter_unpack("=HBBI", program))


def run(code: list[tuple[int, int, int, int]], call: Call) -> int:  # noqa: C901 - one branch per instruction
    """Return the program's answer for ``call``."""
    data = call.pack()
    accumulator = scratch_x = 0
    memory = [0] * 16
    position = 0
    while True:
        operation, yes, no, value = code[position]
        position += 1
        if operation == 0x20:
            assert value % 4 == 0
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return value
        elif operation == 0x05:
            position += value
        elif operation == 0x15:
            position += yes if accumulator == value else no
        elif operation == 0x25:
            position += yes if accumulator > value else no
        elif operation == 0x35:
            position += yes if accumulator >= value else no
        elif operation == 0x45:
            position += yes if accumulator & value else no
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x02:
            memory[value] = accumulator
        elif operation == 0x60:
            accumulator = memory[value]
        elif operation == 0x07:
            scratch_x = accumulator
        elif operation == 0x87:
            accumulator = scratch_x
        else:
            raise AssertionError(hex(operation))
