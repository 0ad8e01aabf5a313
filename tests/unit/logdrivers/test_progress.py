"""A log that is read in parts by readers that cut it differently."""

from hypothesis import given
from hypothesis import strategies as st

from kedge.api.logmarks import LogMark, encode_mark, parse_mark
from kedge.lib.clock import format_rfc3339
from kedge.logdrivers.progress import LogProgress
from kedge.logdrivers.reading import LogBatch

_BEFORE = LogMark(format_rfc3339(0), 0)
_LINES = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 2), st.binary(min_size=1, max_size=6)), max_size=20
).map(lambda items: sorted(items, key=lambda item: item[0]))


def batches(lines: list[tuple[int, int, bytes]], cuts: set[int]) -> list[list[LogBatch]]:
    """Return lines in groups; neighbours with one stamp and stream are one batch."""
    groups: list[list[LogBatch]] = [[]]
    for number, (second, stream, text) in enumerate(lines):
        if number in cuts:
            groups.append([])
        group, stamp = groups[-1], format_rfc3339(second).encode()
        if group and (group[-1].stamp, group[-1].stream) == (stamp, stream):
            group[-1] = group[-1]._replace(data=group[-1].data + text)
        else:
            group.append(LogBatch(stream, stamp, text))
    return groups


def since(groups: list[list[LogBatch]], stamp: str) -> list[list[LogBatch]]:
    return [[one for one in group if one.stamp >= stamp.encode()] for group in groups]


@given(_LINES, st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(0, 21))
def test_each_byte_comes_once(
    lines: list[tuple[int, int, bytes]], cuts: set[int], others: set[int], until: int
) -> None:
    shown: list[tuple[int, bytes]] = []
    first = LogProgress(_BEFORE)
    for group in batches(lines, cuts)[:until]:
        shown += [(one.stream, one.data) for one in first.take(group)]
    mark = parse_mark(encode_mark(first.mark).decode().rstrip("\n"))
    assert mark == first.mark
    second = LogProgress(mark)
    for group in since(batches(lines, others), mark.stamp):
        shown += [(one.stream, one.data) for one in second.take(group)]
    for stream in (1, 2):
        expected = b"".join(text for _, number, text in lines if number == stream)
        assert b"".join(data for number, data in shown if number == stream) == expected
