"""Terminals of `kedge-runtime`: handing one over, or relaying it to the caller's own."""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import termios
import tty

from kedge.errdefs import UnavailableError
from kedge.lib.blocks import contextmanager, suppress
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import pty
from kedge.linux.signals import SIGWINCH

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Final

    from kedge.runtime.waiting import Foreground


_CHUNK: Final = 65536


def send_console(path: str, master: int) -> None:
    """Send ``master`` to whoever listens on the socket ``path``, as OCI runtimes do.

    Raises:
        UnavailableError: Nobody does.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            socket.send_fds(connection, [b"/dev/ptmx"], [master])
    except OSError as error:
        raise UnavailableError(f"cannot send the terminal to {path}: {error.strerror}") from error


@contextmanager
def _raw_terminal(fd: int) -> Generator[None, None, None]:
    if not os.isatty(fd):
        yield
        return
    saved = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


def copy_window_size(source: int, target: int) -> None:
    """Give the terminal ``target`` the size of ``source``, if that is a terminal."""
    size = array.array("H", [0, 0, 0, 0])
    with suppress(OSError):
        fcntl.ioctl(source, termios.TIOCGWINSZ, size)
        pty.set_window_size(target, rows=size[0], columns=size[1])


def relay(master: int, foreground: Foreground) -> None:
    """Copy between the caller's standard streams and ``master`` until the container closes it."""
    copy_window_size(0, master)
    with _raw_terminal(0):
        poll = select.poll()
        poll.register(master, select.POLLIN)
        poll.register(0, select.POLLIN)
        poll.register(foreground.signals, select.POLLIN)
        while True:
            for fd, _events in poll.poll():
                if fd == master and not _copy(master, 1):
                    return
                if fd == 0 and not _copy(0, master):
                    poll.unregister(0)
                if fd == foreground.signals and foreground.take_signal() == SIGWINCH:
                    copy_window_size(0, master)


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, _CHUNK)
        while data:
            data = data[os.write(target, data) :]
            if not data:
                return True
    except OSError:  # EIO: the last process closed the slave
        return False
    return False
