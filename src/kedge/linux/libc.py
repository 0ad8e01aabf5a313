"""The C library every module of `kedge.linux` calls through, and how its failures become `OSError`.

Functions that the C library may not have (glibc older than the kernel, musl) are reached with
``syscall(2)`` and a number; numbers since Linux 5.0 are the same on every architecture. Arguments
of ``syscall`` are wrapped in ctypes types one by one, because it is variadic.
"""

from __future__ import annotations

import ctypes
import os

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


LIBC: Final = ctypes.CDLL(None, use_errno=True)


def failure(path: str | None = None) -> OSError:
    """Return the `OSError` (of the subclass that fits) for the current errno."""
    errno = ctypes.get_errno()
    if path is None:
        return OSError(errno, os.strerror(errno))
    return OSError(errno, os.strerror(errno), path)


def check(result: int, path: str | None = None) -> int:
    """Return ``result`` unless it is negative; then raise with the kernel's errno and ``path``."""
    if result < 0:
        raise failure(path)
    return result
