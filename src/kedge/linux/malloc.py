"""How glibc's allocator gives memory back: ``mallopt(3)`` and ``malloc_trim(3)``.

By default a buffer above 128 KiB is a mapping of its own, and each use of it faults every page in
anew; that is most of what moving bytes through Python costs. Another C library keeps its ways.
"""

from typing import Final

from kedge.linux.libc import LIBC

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def keep_buffers(*, largest_bytes: int, spare_bytes: int, arenas: int = 0) -> None:
    """Have freed buffers used again in place of going back to the kernel one by one.

    Args:
        largest_bytes: Larger ones still are mappings of their own.
        spare_bytes: How much free memory at an arena's end is kept.
        arenas: How many arenas threads share; 0 for the C library's choice.
    """
    mallopt = getattr(LIBC, "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, largest_bytes)
    mallopt(_M_TRIM_THRESHOLD, spare_bytes)
    if arenas:
        mallopt(_M_ARENA_MAX, arenas)


def trim() -> None:
    """Give the kernel back every free page."""
    malloc_trim = getattr(LIBC, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
