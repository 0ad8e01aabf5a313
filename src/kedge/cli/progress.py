"""Progress of a pull, bootstrap or build: bars on a terminal, plain lines elsewhere.

The engine sends Docker's messages: ``stream`` | ``status``, ``id``, ``progressDetail`` | ``aux`` |
``errorDetail``. Only changes of a layer's status become plain lines.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Final, TextIO

from kedge.cli.stagelines import stage_lines
from kedge.errdefs import SystemFailureError
from kedge.lib.fields import mapping, number, text
from kedge.lib.jsontypes import JsonObject

_MOVING: Final = frozenset(
    {"Downloading", "Extracting", "Pushing", "Verifying", "Fetching", "Unpacking"}
)


def wants_bars(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that can draw."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def checked(messages: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Yield messages until one tells of a failure.

    Raises:
        SystemFailureError: That failure, in the engine's words.
    """
    for message in messages:
        error = text(message, "errorDetail", "message") or text(message, "error")
        if error:
            raise SystemFailureError(error)
        yield message


def show_progress(
    messages: Iterable[JsonObject], stream: TextIO, *, plain: bool = False, bars: bool = False
) -> None:
    """Show messages until they end.

    Args:
        messages: The engine's.
        stream: Where to.
        plain: Lines even on a terminal.
        bars: Bars even where ``stream`` is no terminal.

    Raises:
        SystemFailureError: The engine tells of a failure.
    """
    messages = stage_lines(messages)
    if (bars or wants_bars(stream)) and not plain:
        from kedge.cli.bars import show_bars  # noqa: PLC0415 - rich is large

        show_bars(checked(messages), stream)
        return
    shown: dict[str, str] = {}
    for message in checked(messages):
        line = _plain_line(message, shown)
        if line:
            stream.write(line)
            stream.flush()


def _plain_line(message: JsonObject, shown: dict[str, str]) -> str:
    if "stream" in message:
        return text(message, "stream")
    status, layer = text(message, "status"), text(message, "id")
    if not status or shown.get(layer) == status:
        return ""
    moving = number(message, "progressDetail", "total") or mapping(message, "progressDetail")
    if layer and moving and status in _MOVING:
        return ""
    if layer:
        shown[layer] = status
    return f"{layer}: {status}\n" if layer else f"{status}\n"
