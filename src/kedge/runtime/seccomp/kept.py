"""Compiled programs on disk: one `kedge-runtime` finds what an earlier one compiled in 12 ms.

Whoever could write here would decide what containers may do. So the directory belongs to this user
and is closed to everybody else, which is checked on the descriptor it was opened by, and no link is
followed. A file holds the text its program was made from and counts only if that is, byte for
byte, the text asked for; its name, a checksum, is only where to look.
"""

from __future__ import annotations

import binascii
import os

from kedge.lib.blocks import contextmanager, suppress
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Final

_CHECKSUM_BYTES: Final = 4
_FILES_MAX: Final = 64
_OTHERS: Final = 0o077


def usual_directory() -> str:
    """Return where this user's programs are kept; empty where there is no place for them."""
    if os.geteuid() == 0:
        return "/run/kedge-seccomp"
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{own}/kedge-seccomp" if own else ""


def try_find(directory: str, text: str) -> bytes | None:
    """Return the program that was kept for ``text``, if there is one."""
    key = text.encode() + b"\0"
    with suppress(OSError), _opened(directory) as place:
        descriptor = os.open(_name(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read()
        program = content[len(key) + _CHECKSUM_BYTES :]
        if content == key + _checksum(program) + program:
            return program
    return None


def keep(directory: str, text: str, program: bytes) -> None:
    """Keep ``program`` for ``text``, in a directory made for it if need be; or do without."""
    key = text.encode() + b"\0"
    temporary = f"{os.getpid()}.tmp"
    with suppress(OSError):
        os.mkdir(directory, 0o700)
    with suppress(OSError), _opened(directory) as place:
        names = os.listdir(place)
        # Nobody has so many profiles; it takes a moment to compile the few in use again.
        for each in names if len(names) >= _FILES_MAX else ():
            os.unlink(each, dir_fd=place)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=place), "wb") as stream:
            stream.write(key + _checksum(program) + program)
        os.rename(temporary, _name(key), src_dir_fd=place, dst_dir_fd=place)


@contextmanager
def _opened(directory: str) -> Generator[int, None, None]:
    """Open ``directory`` for the block; a `PermissionError` says that others may write to it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    place = os.open(directory, flags)
    try:
        found = os.fstat(place)
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            raise PermissionError(f"{directory} is not this user's alone")
        yield place
    finally:
        os.close(place)


def _name(key: bytes) -> str:
    return f"{binascii.crc32(key):08x}.bpf"


def _checksum(program: bytes) -> bytes:
    return binascii.crc32(program).to_bytes(_CHECKSUM_BYTES, "little")
