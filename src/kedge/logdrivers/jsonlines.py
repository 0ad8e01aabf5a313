r"""Docker's json-file lines back into batches, by whole runs of lines where they permit it.

The shim writes many lines with one stamp, so all lines of such a run end in the same
`\n","stream":"stdout","time":"..."}`. They are cut at fixed places and unescaped all at once. What
is not that regular, a file written by dockerd for example, is decoded line by line.
"""

from typing import Final

import msgspec

from kedge.logdrivers.reading import STDERR, STDOUT, LogBatch

_HEAD: Final = b'{"log":"'
_STREAM_KEY: Final = b'","stream":"'
_ATTRS_KEY: Final = b'","attrs":'
_TIME_KEY: Final = b'"time":"'
_END: Final = b'"}\n'
_STREAMS: Final = {b"stdout": STDOUT, b"stderr": STDERR}
_STAMP_LENGTH: Final = len("2006-01-02T15:04:05.000000000Z")
_FIRST_WINDOW: Final = 4096
_STRETCH: Final = 16384


class _Line(msgspec.Struct):
    """One entry; further keys, such as ``attrs``, are ignored."""

    log: str = ""
    stream: str = "stdout"
    time: str = ""
    attrs: msgspec.Raw = msgspec.Raw()


_line_decoder: Final = msgspec.json.Decoder(_Line)
_text_decoder: Final = msgspec.json.Decoder(str)


def parse_lines(block: bytes) -> list[LogBatch]:
    """Return the entries in ``block``; lines that are no entries are left out.

    Args:
        block: Whole lines, the last one ends in a newline.
    """
    batches: list[LogBatch] = []
    position = 0
    while position < len(block):
        first_stop = block.index(b"\n", position) + 1
        trailer = _find_trailer(block, position, first_stop)
        stop = _find_run(block, first_stop, trailer) if trailer else first_stop
        if stop > first_stop:
            batch = _parse_run(block[position:stop], trailer)
            if batch is not None:
                batches.append(batch)
                position = stop
                continue
        else:
            # Where one line differs from the next, more are likely to.
            stop = block.rfind(b"\n", position, position + _STRETCH) + 1 or first_stop
        batches += _parse_stretch(block[position:stop])
        position = stop
    return batches


def normalize_stamp(stamp: bytes) -> bytes:
    """Return an RFC 3339 UTC time with nine decimals; Go leaves trailing zeros out."""
    if len(stamp) == _STAMP_LENGTH or not stamp.endswith(b"Z"):
        return stamp
    whole, _, fraction = stamp[:-1].partition(b".")
    return whole + b"." + fraction.ljust(9, b"0")[:9] + b"Z"


def _find_trailer(block: bytes, start: int, stop: int) -> bytes:
    r"""Return what follows the text of a complete line, from its `\n` on; empty if irregular."""
    cut = block.rfind(_STREAM_KEY, start, stop)
    if cut < 0 or not block.startswith(_HEAD, start) or block[cut - 2 : cut] != b"\\n":
        return b""
    return block[cut - 2 : stop]


def _find_run(block: bytes, start: int, trailer: bytes) -> int:
    """Return where the lines end that follow ``start`` and all have the same trailer."""
    end, window = start, _FIRST_WINDOW
    newline = block.find(b"\n", start)
    if newline < 0 or not block.endswith(trailer, start, newline + 1):
        return start
    while end < len(block):
        limit = min(end + window, len(block))
        found = block.rfind(trailer, end, limit)
        if found < 0:
            break
        end = found + len(trailer)
        if limit - end > window // 2:
            break
        window *= 2
    return end


def _parse_run(run: bytes, trailer: bytes) -> LogBatch | None:
    """Return lines that share ``trailer`` as one batch, or None if they are not that regular."""
    head, _, rest = trailer[2 + len(_STREAM_KEY) :].rpartition(_TIME_KEY)
    stream, _, attrs = head[:-1].partition(_ATTRS_KEY)
    stream = stream.removesuffix(b'"')
    if stream not in _STREAMS or not rest.endswith(_END):
        return None
    stamp = normalize_stamp(rest[: -len(_END)])
    lines = run.split(b"\n")
    if run.count(trailer + _HEAD) != len(lines) - 2:
        return None
    # Cutting each line beats replacing the text between them: a long needle is prepared anew for
    # each of its occurrences.
    first, last = len(_HEAD), -(len(trailer) - 1)
    # Nothing comes after the last newline, and of that nothing is left: the text ends in a newline.
    data = b"\n".join([line[first:last] for line in lines])
    if b"\\" in data:
        if b"\\\n" in data:
            # The backslash may belong to the trailer's own.
            return None
        try:
            text = _text_decoder.decode(b'"' + data.replace(b"\n", b"\\n") + b'"')
        except msgspec.DecodeError:
            return None
        data = text.encode()
    return LogBatch(_STREAMS[stream], stamp, data, attrs)


def _parse_stretch(lines: bytes) -> list[LogBatch]:
    """Return the entries of lines that have little in common."""
    try:
        entries = _line_decoder.decode_lines(lines)
    except msgspec.DecodeError:
        entries = [entry for line in lines.split(b"\n") if (entry := _try_decode(line))]
    batches: list[LogBatch] = []
    for entry in entries:
        if entry.time:
            stamp = normalize_stamp(entry.time.encode())
            stream = STDERR if entry.stream == "stderr" else STDOUT
            attrs = bytes(entry.attrs)
            batches.append(LogBatch(stream, stamp, entry.log.encode(), attrs))
    return batches


def _try_decode(line: bytes) -> _Line | None:
    try:
        return _line_decoder.decode(line)
    except msgspec.DecodeError:
        return None
