import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.lib.durations import (
    format_duration,
    human_duration,
    parse_duration,
    parse_positive_duration,
)

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("KEDGE_SHARED_DATA", REPOSITORY.parent / "shared/data"))
VECTORS = DATA / "vectors/cli/duration.json"


class ParseRow(msgspec.Struct):
    option: str
    input: str
    expected_ns: int | None = None
    error: str = ""


class TextRow(msgspec.Struct):
    nanoseconds: int
    expected: str


class Vectors(msgspec.Struct):
    parse: list[ParseRow]
    to_string: list[TextRow]
    human: list[TextRow]


@pytest.mark.skipif(not VECTORS.is_file(), reason=f"no test vectors at {VECTORS}")
def test_vectors() -> None:
    vectors = msgspec.json.decode(VECTORS.read_bytes(), type=Vectors)
    for row in vectors.parse:
        parse = parse_duration if row.option == "duration" else parse_positive_duration
        if row.expected_ns is None:
            with pytest.raises(InvalidParameterError, match=row.error):
                parse(row.input)
        else:
            assert parse(row.input) == row.expected_ns
    for text in vectors.to_string:
        assert format_duration(text.nanoseconds) == text.expected
    for text in vectors.human:
        assert human_duration(text.nanoseconds) == text.expected


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_parse_reads_what_format_writes(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("+5s", 5_000_000_000), (".5s", 500_000_000), ("1.5h", 5_400_000_000_000)],
)
def test_go_spellings(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid duration"),
        ("1", "missing unit"),
        ("1x", "unknown unit"),
        (".s", "invalid duration"),
        ("9" * 5000 + "s", "invalid duration"),
        ("9223372036854775808ns", "invalid duration"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        parse_duration(text)
