"""Pseudo terminals of a given devpts instance, pts(4); the slave is never opened by name."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_TIOCGPTPEER: Final = 0x5441
_TIOCSPTLCK: Final = 0x40045431


def unlock(master_fd: int) -> None:
    """Allow the slave of ``master_fd`` to be opened."""
    fcntl.ioctl(master_fd, _TIOCSPTLCK, struct.pack("i", 0))


def open_slave(master_fd: int) -> int:
    """Return the slave of ``master_fd``, found through the master and not by name."""
    return int(fcntl.ioctl(master_fd, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))


def set_window_size(fd: int, *, rows: int, columns: int) -> None:
    """Set the terminal's size; the foreground process group gets SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def set_controlling_terminal(fd: int) -> None:
    """Make ``fd`` the controlling terminal of this session leader."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
