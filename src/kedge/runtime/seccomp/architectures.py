"""The architectures a filter can meet on the machines kedge runs on, and their system calls.

A process under a 64-bit kernel may also use the machine's 32-bit calls, so a filter that knows only
one table would leave the others open. Names are libseccomp's without ``SCMP_ARCH_``.
"""

from __future__ import annotations

import os
from functools import cache

from kedge.errdefs import NotSupportedError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


X32_SYSCALL_BIT: Final = 0x4000_0000

_TABLE: Final = f"{os.path.dirname(__file__)}/syscalls.tbl"


class Architecture(NamedTuple):
    """One calling convention."""

    name: str
    """libseccomp's name, lower case: ``x86_64``, ``x32``, ``x86``, ``aarch64``, ``arm``."""
    audit_arch: int
    """``AUDIT_ARCH_*``, what the kernel puts into ``seccomp_data.arch``."""
    wide: bool
    """Arguments are compared in 64 bits; otherwise in the lower 32."""
    number_base: int = 0
    """Added to the table's numbers."""


X86_64: Final = Architecture("x86_64", 0xC000_003E, wide=True)
# Shares AUDIT_ARCH_X86_64; told apart by a bit in the number.
X32: Final = Architecture("x32", 0xC000_003E, wide=False, number_base=X32_SYSCALL_BIT)
X86: Final = Architecture("x86", 0x4000_0003, wide=False)
AARCH64: Final = Architecture("aarch64", 0xC000_00B7, wide=True)
ARM: Final = Architecture("arm", 0x4000_0028, wide=False)

KNOWN: Final = {f"SCMP_ARCH_{one.name.upper()}": one for one in (X86_64, X32, X86, AARCH64, ARM)}
# In the specification, but no kernel that runs kedge can run their processes.
FOREIGN: Final = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        *("LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64"),
        *("MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "SH", "SHEB"),
        *("PARISC", "PARISC64", "RISCV64"),
    )
)
_NATIVE: Final = {"x86_64": X86_64, "aarch64": AARCH64}


def native_architecture() -> Architecture:
    """Return the architecture of this machine's own programs.

    Raises:
        NotSupportedError: kedge has no system call table for it.
    """
    machine = os.uname().machine
    found = _NATIVE.get(machine)
    if found is None:
        raise NotSupportedError(f"no seccomp filter for {machine}: run the container unconfined")
    return found


@cache
def syscall_numbers(architecture: str) -> dict[str, int]:
    """Return every system call's number in ``seccomp_data.nr`` on ``architecture``."""
    column = 0
    base = KNOWN[f"SCMP_ARCH_{architecture.upper()}"].number_base
    numbers: dict[str, int] = {}
    for line in _read_table().splitlines():
        words = line.split()
        if words[0] == "#":
            column = words.index(architecture) - 1 if architecture in words else column
        elif words[column] != "-":
            numbers[words[0]] = int(words[column]) + base
    return numbers


@cache
def _read_table() -> str:
    try:
        with open(_TABLE, encoding="ascii") as stream:
            return stream.read()
    except OSError as error:
        raise SystemFailureError(f"kedge is not fully installed: {error}") from error
