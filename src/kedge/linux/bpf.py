"""``bpf(2)`` for cgroup device programs, and an assembler for the few instructions they need.

Vocabulary of ``include/uapi/linux/bpf.h`` and ``Documentation/bpf/standardization``. Each assembler
function returns one encoded instruction; jump offsets count the instructions to skip.
What a program decides is `kedge.runtime.cgroups.devices`' business.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from typing import Final


_syscall = LIBC.syscall

_NR_BPF: Final = {"x86_64": 321, "aarch64": 280}

# enum bpf_cmd
_PROG_LOAD: Final = 5
_PROG_ATTACH: Final = 8
_PROG_DETACH: Final = 9
_PROG_GET_FD_BY_ID: Final = 13
_PROG_QUERY: Final = 16

_PROG_TYPE_CGROUP_DEVICE: Final = 15
_CGROUP_DEVICE: Final = 6

BPF_F_ALLOW_MULTI: Final = 1 << 1
BPF_F_REPLACE: Final = 1 << 2

# struct bpf_cgroup_dev_ctx
DEVCG_DEV_BLOCK: Final = 1
DEVCG_DEV_CHAR: Final = 2
DEVCG_ACCESS: Final = {"m": 1, "r": 2, "w": 4}

_MAX_PROGRAMS: Final = 64


def _instruction(opcode: int, target: int, source: int, offset: int, immediate: int) -> bytes:
    # Immediates are signed to the kernel; masks are easier to read as unsigned.
    signed = immediate - (1 << 32) if immediate > 0x7FFF_FFFF else immediate
    return struct.pack("<BBhi", opcode, target | source << 4, offset, signed)


def load_word(target: int, source: int, offset: int) -> bytes:
    """Encode ``target = *(u32 *)(source + offset)``."""
    return _instruction(0x61, target, source, offset, 0)


def move_register(target: int, source: int) -> bytes:
    """Encode a 32-bit ``target = source``."""
    return _instruction(0xBC, target, source, 0, 0)


def move_immediate(target: int, value: int) -> bytes:
    """Encode a 32-bit ``target = value``."""
    return _instruction(0xB4, target, 0, 0, value)


def and_immediate(target: int, value: int) -> bytes:
    """Encode a 32-bit ``target &= value``."""
    return _instruction(0x54, target, 0, 0, value)


def shift_right_immediate(target: int, count: int) -> bytes:
    """Encode a 32-bit ``target >>= count`` without sign."""
    return _instruction(0x74, target, 0, 0, count)


def jump_if_equal(target: int, value: int, skip: int) -> bytes:
    """Encode "skip ``skip`` instructions if ``target == value``"."""
    return _instruction(0x15, target, 0, skip, value)


def jump_if_not_equal(target: int, value: int, skip: int) -> bytes:
    """Encode "skip ``skip`` instructions if ``target != value``"."""
    return _instruction(0x55, target, 0, skip, value)


def exit_program() -> bytes:
    """Encode "return r0"."""
    return _instruction(0x95, 0, 0, 0, 0)


def load_cgroup_device_program(program: bytes) -> int:
    """Verify and load ``program``; return its file descriptor.

    Raises:
        OSError: The verifier or the kernel's configuration refused it.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    license_text = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(license_text),
        0,
        0,
        0,
        0,
        0,
        b"kedge_devices",
    )
    return _bpf(_PROG_LOAD, attributes)


def attach_cgroup_device(cgroup_fd: int, program_fd: int, *, replace_fd: int = -1) -> None:
    """Attach a device program to a cgroup directory, beside others or instead of one.

    Args:
        cgroup_fd: The open cgroup v2 directory.
        program_fd: From `load_cgroup_device_program`.
        replace_fd: An attached program to take the place of (Linux 5.6); -1 to add.
    """
    flags = BPF_F_ALLOW_MULTI | (BPF_F_REPLACE if replace_fd >= 0 else 0)
    attributes = (cgroup_fd, program_fd, _CGROUP_DEVICE, flags, max(replace_fd, 0))
    _bpf(_PROG_ATTACH, struct.pack("=IIIII", *attributes))


def detach_cgroup_device(cgroup_fd: int, program_fd: int) -> None:
    """Detach a device program from a cgroup directory."""
    _bpf(_PROG_DETACH, struct.pack("=IIII", cgroup_fd, program_fd, _CGROUP_DEVICE, 0))


def query_cgroup_device(cgroup_fd: int) -> list[int]:
    """Return the ids of the device programs attached to a cgroup directory itself."""
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    attributes = struct.pack(
        "=IIIIQI", cgroup_fd, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    _call(_PROG_QUERY, buffer)
    (count,) = struct.unpack_from("=I", buffer.raw, 24)
    return list(ids[:count])


def open_program(program_id: int) -> int:
    """Return a descriptor for the loaded program ``program_id``."""
    return _bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", program_id, 0, 0))


def _bpf(command: int, attributes: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(attributes, len(attributes)))


def _call(command: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    machine = os.uname().machine
    number = _NR_BPF.get(machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"no number for this system call on {machine}", "bpf")
    size = ctypes.c_uint(len(buffer))
    result = _syscall(ctypes.c_long(number), ctypes.c_int(command), ctypes.byref(buffer), size)
    return check(int(result), "bpf")
