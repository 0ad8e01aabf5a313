"""Whether the kernel runs programs of another machine: emulators registered with binfmt_misc.

Only an emulator that the kernel opened when it was registered (flag ``F``) works in a container,
whose files do not include it. Format: Documentation/admin-guide/binfmt-misc.rst.
"""

import os
from typing import Final

from kedge.oci.platforms import Platform

FOLDER: Final = "/proc/sys/fs/binfmt_misc"
_MAGIC: Final = b"\x7fELF"
_MACHINE_AT: Final = 18
# Class, byte order and machine in the header of an ELF file: elf.h.
_MACHINES: Final = {
    "386": (1, 1, 3),
    "amd64": (2, 1, 62),
    "arm": (1, 1, 40),
    "arm64": (2, 1, 183),
    "loong64": (2, 1, 258),
    "mips64le": (2, 1, 8),
    "ppc64le": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}


def can_emulate(platform: Platform, *, folder: str = FOLDER) -> bool:
    """Say whether a registered emulator runs Linux programs of ``platform``."""
    wanted = _MACHINES.get(platform.architecture)
    if platform.os != "linux" or wanted is None:
        return False
    try:
        names = os.listdir(folder)
        if "status" in names and _read(folder, "status").strip() != "enabled":
            return False
        return any(_runs(_read(folder, name), wanted) for name in sorted(names))
    except OSError:
        return False


def _read(folder: str, name: str) -> str:
    if name == "register":
        return ""
    with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def _runs(text: str, wanted: tuple[int, int, int]) -> bool:
    lines = text.splitlines()
    facts = dict(line.split(" ", 1) for line in lines if " " in line)
    if not lines or lines[0] != "enabled" or "F" not in facts.get("flags:", ""):
        return False
    try:
        magic = bytes.fromhex(facts.get("magic", ""))
    except ValueError:
        return False
    if not magic.startswith(_MAGIC) or len(magic) < _MACHINE_AT + 2:
        return False
    order = "little" if magic[5] == 1 else "big"
    machine = int.from_bytes(magic[_MACHINE_AT : _MACHINE_AT + 2], order)  # type: ignore[arg-type]
    return (magic[4], magic[5], machine) == wanted
