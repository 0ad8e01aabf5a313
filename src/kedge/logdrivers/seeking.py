"""Finding a time in a log without reading all of it: by the files' own times, then by halves.

Entries lie in the order of their stamps, unless the host's clock was set back; then the place found
is as good as any, and who reads on from there still looks at each stamp.
"""

import os
from typing import Final

from kedge.lib.clock import format_rfc3339
from kedge.logdrivers.jsonlines import normalize_stamp
from kedge.logdrivers.rotation import close_chain
from kedge.logdrivers.source import LogFile

# The kernel stamps files with a clock that may be a tick behind; a second is on the safe side.
_SLACK_NS: Final = 1_000_000_000
# Larger than any entry: 16 KiB of text, each byte six long, and what stands around it.
_WINDOW: Final = 128 * 1024
_TIME_KEY: Final = b'"time":"'


def seek_time(chain: list[LogFile], since_ns: int) -> tuple[list[LogFile], int]:
    """Return the files that may hold entries from ``since_ns`` on, and a place in the first.

    Files that hold none are closed. No wanted entry lies before the place.
    """
    first = 0
    while first < len(chain) - 1 and chain[first].changed_ns + _SLACK_NS < since_ns:
        first += 1
    close_chain(chain[:first])
    chain = chain[first:]
    return chain, 0 if chain[0].is_packed else _halve(chain[0], since_ns)


def _halve(file: LogFile, since_ns: int) -> int:
    """Return the start of a line before which all are older."""
    since = format_rfc3339(since_ns).encode()
    low, high = 0, os.fstat(file.fd).st_size
    while high - low > _WINDOW:
        middle = (low + high) // 2
        found = _line_after(file, middle, high)
        if found is None:
            break
        start, stamp = found
        if stamp < since:
            low = start
        else:
            high = middle
    return low


def _line_after(file: LogFile, offset: int, limit: int) -> tuple[int, bytes] | None:
    """Return where the first whole line after ``offset`` begins and its stamp, if before limit."""
    data = file.read(offset, min(2 * _WINDOW, limit - offset))
    start = data.find(b"\n") + 1
    stop = data.find(b"\n", start) if start else -1
    if stop < 0:
        return None
    _, key, rest = data[start:stop].rpartition(_TIME_KEY)
    return (offset + start, normalize_stamp(rest.partition(b'"')[0])) if key else None
