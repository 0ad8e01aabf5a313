"""A person at a terminal: types, waits for what the screen shall show."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE_S = 60.0


class Terminal:
    """A command on a pseudo terminal of its own."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        rows: int = 33,
        columns: int = 101,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen = ""
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, **environment, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        """Wait until ``text`` appears; the screen before and with it is taken off."""
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.screen:
            assert time.monotonic() < deadline, f"no {text!r} on the screen: {self.screen!r}"
            self._read(0.1)
        self.screen = self.screen.partition(text)[2]

    def wait(self) -> int:
        """Return the client's exit code."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"the client does not end: {self.screen!r}"
            self._read(0.05)
        self._read(0)
        return self._process.wait()

    def _read(self, timeout_s: float) -> None:
        ready, _, _ = select.select([self._master], [], [], timeout_s)
        if ready:
            try:
                self.screen += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                # The other side is closed; the exit is on its way.
                time.sleep(0.01)
