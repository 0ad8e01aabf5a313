"""Buffers are used again, and a trim gives their pages back."""

import subprocess
import sys
from typing import Final

import pytest

from kedge.linux.libc import LIBC

# In a process of its own, because the settings hold for all of it.
_PROGRAM: Final = """
import resource
from kedge.linux import malloc

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

malloc.keep_buffers(largest_bytes=4 << 20, spare_bytes=2 << 20, arenas=2)
bytes(1 << 20)
before = faults()
for _ in range(20):
    bytearray(b"x") * (1 << 20)
kept = faults() - before
malloc.trim()
before = faults()
bytearray(b"x") * (1 << 20)
print(kept, faults() - before)
"""


@pytest.mark.skipif(not hasattr(LIBC, "mallopt"), reason="another C library than glibc")
def test_a_buffer_is_faulted_in_once_and_anew_after_a_trim() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    kept, after_trim = map(int, done.stdout.split())
    # A page is 4 KiB or more: one buffer takes up to 256 faults, twenty would take 5120.
    assert kept < 512
    assert after_trim > 8
