"""How a process is scheduled: ``sched_setattr(2)``, ``ioprio_set(2)``, ``personality(2)``."""

import ctypes
import os
import struct
from typing import Final

from kedge.linux.libc import LIBC, check

_MACHINE: Final = os.uname().machine
_SYS_SCHED_SETATTR: Final = ctypes.c_long({"x86_64": 314}.get(_MACHINE, 274))
_SYS_IOPRIO_SET: Final = ctypes.c_long({"x86_64": 251}.get(_MACHINE, 30))
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


def set_personality(persona: int) -> None:
    """Set the execution domain of this process."""
    check(int(_personality(persona)))
