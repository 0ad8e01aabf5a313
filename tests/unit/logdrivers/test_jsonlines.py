import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.logdrivers.jsonlines import normalize_stamp, parse_lines
from kedge.logdrivers.reading import STDERR, STDOUT, LogBatch

STAMPS = st.sampled_from([b"2024-01-01T00:00:00.000000001Z", b"2024-01-01T00:00:00.000000002Z"])
TEXTS = st.one_of(
    st.text(max_size=20).map(lambda text: text + "\n"),
    st.text(max_size=20),
    st.sampled_from(["plain line\n", "back\\slash\\\n", "\\n", '","stream":"stdout"\n', "\n"]),
)
ENTRIES = st.lists(st.tuples(TEXTS, st.sampled_from(["stdout", "stderr"]), STAMPS), max_size=40)


def docker_line(text: str, stream: str, stamp: bytes) -> bytes:
    entry = {"log": text, "stream": stream, "time": stamp.decode()}
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


@given(ENTRIES, st.integers(1, 4))
def test_batches_are_the_entries(entries: list[tuple[str, str, bytes]], repeat: int) -> None:
    entries = [entry for entry in entries for _ in range(repeat)]
    batches = parse_lines(b"".join(docker_line(*entry) for entry in entries))
    numbers = {"stdout": STDOUT, "stderr": STDERR}
    for name, number in numbers.items():
        expected = "".join(text for text, stream, _ in entries if stream == name)
        got = b"".join(batch.data for batch in batches if batch.stream == number)
        assert got.decode("utf-8", "surrogatepass") == expected
    in_order = "".join(text for text, _, _ in entries)
    assert b"".join(batch.data for batch in batches).decode() == in_order


def test_a_run_of_equal_trailers_is_one_batch() -> None:
    stamp = b"2024-01-01T00:00:00.000000001Z"
    block = b"".join(docker_line(f"line {number}\n", "stdout", stamp) for number in range(5000))
    block += docker_line("last\n", "stderr", stamp)
    first, last = parse_lines(block)
    assert first == LogBatch(STDOUT, stamp, b"".join(b"line %d\n" % n for n in range(5000)))
    assert last == LogBatch(STDERR, stamp, b"last\n")


@pytest.mark.parametrize(
    "rubbish", [b"\n", b"{}\n", b'{"log":"ha\n', b"\xff\n", b'{"log":7,"time":"x"}\n']
)
def test_rubbish_spoils_only_itself(rubbish: bytes) -> None:
    good = docker_line("good\n", "stdout", b"2024-01-01T00:00:00.000000001Z")
    batches = parse_lines(good + rubbish + good + good + rubbish)
    assert b"".join(batch.data for batch in batches) == b"good\n" * 3


def test_attributes_are_kept() -> None:
    line = b'{"log":"x\\n","stream":"stdout","attrs":{"a":"b"},"time":"2024-01-01T00:00:00.1Z"}\n'
    assert parse_lines(line) == [
        LogBatch(STDOUT, b"2024-01-01T00:00:00.100000000Z", b"x\n", b'{"a":"b"}')
    ]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (b"2024-01-01T00:00:00Z", b"2024-01-01T00:00:00.000000000Z"),
        (b"2024-01-01T00:00:00.12Z", b"2024-01-01T00:00:00.120000000Z"),
        (b"2024-01-01T00:00:00.123456789Z", b"2024-01-01T00:00:00.123456789Z"),
    ],
)
def test_stamps_get_nine_decimals(stamp: bytes, expected: bytes) -> None:
    assert normalize_stamp(stamp) == expected
