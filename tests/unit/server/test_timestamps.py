import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.server.routers.timestamps import parse_tail, parse_timestamp


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("", 0),
        ("0", 0),
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("1.000000001", 1_000_000_001),
        ("1.0000000019", 1_000_000_001),
        ("-62135596800.000000000", -62_135_596_800_000_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T01:00:01.123456789+01:00", 1_123_456_789),
        ("1970-01-01", 0),
    ],
)
def test_points_in_time(text: str, nanoseconds: int) -> None:
    assert parse_timestamp(text) == nanoseconds


@pytest.mark.parametrize("text", ["noon", "1.x", "1e9", "9" * 30, "2020-13-01", "--1", "1.5.6"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid timestamp"):
        parse_timestamp(text)


@given(st.integers(0, 10**11), st.integers(0, 10**9 - 1))
def test_go_s_form_is_exact(seconds: int, nanos: int) -> None:
    assert parse_timestamp(f"{seconds}.{nanos:09d}") == seconds * 10**9 + nanos


@given(st.text())
def test_no_text_crashes(text: str) -> None:
    with contextlib.suppress(InvalidParameterError):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "lines"), [("all", -1), ("", -1), ("0", 0), ("10", 10), ("-5", -1), ("x", -1)]
)
def test_tail(text: str, lines: int) -> None:
    assert parse_tail(text) == lines
