"""The signal names and numbers that STOPSIGNAL takes."""

import re
import signal
from typing import Final

_REALTIME: Final = re.compile(r"RTM(?:IN(?:\+(\d{1,2}))?|AX(?:-(\d{1,2}))?)")


def is_signal(text: str) -> bool:
    """Say whether ``text`` is a signal's number or name, with or without SIG."""
    if text.isascii() and text.isdecimal():
        return len(text) <= 2 and 0 < int(text) <= signal.SIGRTMAX
    name = text.upper().removeprefix("SIG")
    if f"SIG{name}" in signal.Signals.__members__:
        return True
    match = _REALTIME.fullmatch(name)
    span = signal.SIGRTMAX - signal.SIGRTMIN
    return match is not None and int(match[1] or match[2] or "0") <= span
