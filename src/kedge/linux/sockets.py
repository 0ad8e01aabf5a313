"""What `_socket`, the half of `socket` in C, leaves to the half in Python."""

from __future__ import annotations

import os

from kedge.linux.libc import LIBC, check

_ACCEPT_FLAGS = os.O_CLOEXEC


def accept(listener: int) -> int:
    """Return the descriptor of the next connection to the socket ``listener``."""
    return check(int(LIBC.accept4(listener, None, None, _ACCEPT_FLAGS)))
