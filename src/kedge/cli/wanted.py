"""What an attached session connects, and the exit code it waits for: before the start."""

from __future__ import annotations

import os
import sys

from kedge.client.http import EngineClient
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import number, text
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Wanted(NamedTuple):
    """Streams, terminal and signals of a session."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    sig_proxy: bool = True


def check_terminal(wanted: Wanted) -> None:
    """Refuse a terminal session whose input is no terminal.

    Raises:
        InvalidParameterError: ``-it`` in a pipe.
    """
    if wanted.tty and wanted.stdin and not _is_input_tty():
        raise InvalidParameterError(
            "the input device is not a TTY: leave -t out when input is a pipe or file"
        )


def _is_input_tty() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


def open_wait(
    client: EngineClient, container: str, condition: str
) -> tuple[EngineClient, Callable[[], int]]:
    """Ask for the exit code now, on a connection of its own.

    Returns:
        The connection, and the function that reads the code from it; it blocks until then.
    """
    waiter = EngineClient(client.host)
    response = waiter.post(f"/containers/{container}/wait", {"condition": condition})

    def read() -> int:
        answer = response.object()
        waiter.close()
        message = text(answer, "Error", "Message")
        if message:
            sys.stderr.write(f"kedge: {message}\n")
        return number(answer, "StatusCode")

    return waiter, read
