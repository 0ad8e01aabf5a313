"""Time as an argument: the wall clock, the monotonic clock, and RFC 3339 as Docker prints it.

Code that asks for the time takes a `Clock`, so that a test decides what time it is.
"""

from __future__ import annotations

import time

from kedge.lib.hints import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def time_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...


class SystemClock:
    """The host's clocks."""

    def time_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


def format_rfc3339(time_ns: int) -> str:
    """Return ``time_ns`` in UTC with nine decimals and ``Z``, Go's ``RFC3339Nano`` padded.

    Args:
        time_ns: Nanoseconds since the Unix epoch.
    """
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    parts = time.gmtime(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', parts)}.{nanos:09d}Z"
