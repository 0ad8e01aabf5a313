"""How a process is served: by the CPUs, by disks, by which memory, as what kind of program.

``sched_setattr(2)``, ``ioprio_set(2)``, ``set_mempolicy(2)``, ``personality(2)``.
"""

from __future__ import annotations

import ctypes
import os
import struct

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.libc import LIBC, check

if TYPE_CHECKING:
    from typing import Final


_MACHINE: Final = os.uname().machine
_SYS_SCHED_SETATTR: Final = ctypes.c_long({"x86_64": 314}.get(_MACHINE, 274))
_SYS_IOPRIO_SET: Final = ctypes.c_long({"x86_64": 251}.get(_MACHINE, 30))
_SYS_SET_MEMPOLICY: Final = ctypes.c_long({"x86_64": 238}.get(_MACHINE, 237))
_LONG_BITS: Final = 64
_IOPRIO_WHO_PROCESS: Final = ctypes.c_int(1)
_IOPRIO_CLASS_SHIFT: Final = 13
# struct sched_attr: size, policy, flags, nice, priority, three times, two clamps
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQII")

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long
_personality = LIBC.personality
_personality.argtypes = (ctypes.c_ulong,)


def set_scheduler(
    policy: int, *, flags: int, nice: int, priority: int, times_ns: tuple[int, int, int]
) -> None:
    """Set the scheduling policy of this process; ``times_ns`` are runtime, deadline, period."""
    runtime, deadline, period = times_ns
    attributes = _SCHED_ATTR.pack(
        _SCHED_ATTR.size, policy, flags, nice, priority, runtime, deadline, period, 0, 0
    )
    check(int(_syscall(_SYS_SCHED_SETATTR, ctypes.c_int(0), attributes, ctypes.c_uint(0))))


def set_io_priority(io_class: int, priority: int) -> None:
    """Set the I/O class and the level inside it of this process."""
    value = ctypes.c_int(io_class << _IOPRIO_CLASS_SHIFT | priority)
    check(int(_syscall(_SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, ctypes.c_int(0), value)))


def set_memory_policy(mode: int, nodes: int) -> None:
    """Set the NUMA policy of this process and its children.

    Args:
        mode: ``MPOL_*`` with ``MPOL_F_*``.
        nodes: The nodes as a bit mask.
    """
    words = nodes.bit_length() // _LONG_BITS + 1
    mask = nodes.to_bytes(words * _LONG_BITS // 8, "little") if nodes else None
    # The kernel looks at one bit less than it is told (get_nodes in mm/mempolicy.c).
    bits = ctypes.c_ulong(words * _LONG_BITS + 1 if nodes else 0)
    check(int(_syscall(_SYS_SET_MEMPOLICY, ctypes.c_int(mode), mask, bits)))


def set_personality(persona: int) -> None:
    """Set the execution domain of this process."""
    check(int(_personality(persona)))
