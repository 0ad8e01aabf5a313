"""Processes of the host that a test looks for by what they were started as."""

import contextlib
import random
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that the kernel gives to nobody."""
    while True:
        port = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when ``process`` takes connections on a port of loopback; fail when it has ended."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def is_running(*words: str) -> bool:
    """Tell whether a process runs whose first words are these; a number of its own tells whose."""
    wanted = [word.encode() for word in words]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[: len(wanted)] == wanted:
                return True
        except OSError:
            # It ended between the listing and the look.
            continue
    return False
