"""`syncfs(2)`: flush one file system."""

import ctypes

from kedge.linux.libc import LIBC, check

_syncfs = LIBC.syncfs
_syncfs.argtypes = (ctypes.c_int,)
_syncfs.restype = ctypes.c_int


def syncfs(descriptor: int) -> None:
    """Wait until everything on the file system of ``descriptor`` is on disk.

    Raises:
        OSError: A write-back failed since the descriptor was opened.
    """
    check(int(_syncfs(descriptor)))
