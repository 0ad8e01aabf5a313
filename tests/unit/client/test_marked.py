"""A marked stream, however it is cut and wherever it breaks off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.api.logmarks import MARK, LogMark, encode_mark, parse_mark
from kedge.api.streams import STDERR, STDOUT, frame
from kedge.client.marked import MarkedOutput
from kedge.errdefs import InvalidParameterError

_MARKS = [LogMark(f"2026-01-01T00:00:0{number}.000000000Z", number * 7) for number in range(3)]
_STREAM = b"".join(
    (
        frame(STDOUT, b"one\n"), frame(STDERR, b"two\n"), frame(MARK, encode_mark(_MARKS[1])),
        frame(STDOUT, b"three\n"), frame(MARK, encode_mark(_MARKS[2])),
    )
)  # fmt: skip


@given(st.integers(0, len(_STREAM)), st.integers(1, 9))
def test_what_no_mark_follows_is_not_shown(end: int, size: int) -> None:
    shown: list[tuple[int, bytes]] = []
    output = MarkedOutput(lambda stream, data: shown.append((stream, data)))
    for start in range(0, end, size):
        output.feed(_STREAM[start : min(start + size, end)])
    text = b"".join(data for _, data in shown)
    known = {"": b"", "2026-01-01T00:00:01.000000000Z/7": b"one\ntwo\n"}
    assert text == known.get(output.mark, b"one\ntwo\nthree\n")
    # The next engine sends what was not confirmed once more.
    output.reset()
    output.feed(_STREAM[: len(_STREAM) // 2] if not output.mark else b"")
    assert b"".join(data for _, data in shown).startswith(text)


@pytest.mark.parametrize("text", ["", "x/1", f"{_MARKS[0].stamp}/", f"{_MARKS[0].stamp}/-1"])
def test_what_is_no_mark(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid mark of a log"):
        parse_mark(text)
