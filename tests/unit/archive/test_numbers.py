import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.archive.numbers import (
    format_number,
    format_pax_time,
    parse_number,
    parse_pax_time,
)
from kedge.errdefs import InvalidParameterError


@given(st.integers(-(1 << 60), 1 << 60))
def test_what_is_written_is_read_back(value: int) -> None:
    field = format_number(value, 12)
    assert len(field) == 12
    assert parse_number(field) == value


@given(st.integers(-(1 << 80), 1 << 80))
def test_times_survive(time_ns: int) -> None:
    limited = time_ns % (1 << 62) * (1 if time_ns >= 0 else -1)
    assert parse_pax_time(format_pax_time(limited)) == limited


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"        ", 0),
        (b"\0" * 8, 0),
        (b"644\0junk", 0o644),
        (b"\x80\0\0\0\0\0\1\0", 256),
        (b"\xff" * 8, -1),
    ],
)
def test_forms_found_in_the_wild(field: bytes, value: int) -> None:
    assert parse_number(field) == value


@pytest.mark.parametrize(
    "field", [b"0000648\0", b"-000644\0", b"+644\0\0\0\0", b"6_4\0\0\0\0\0", b"xyz\0\0\0\0\0"]
)
def test_no_number(field: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="damaged tar header"):
        parse_number(field)


def test_a_time_without_fraction_has_no_point() -> None:
    assert format_pax_time(1_700_000_000_000_000_000) == b"1700000000"
    assert format_pax_time(-1_500_000_000) == b"-1.5"


@pytest.mark.parametrize("text", [b"", b".5", b"1e9", b"1.5.5", b"9" * 30])
def test_no_time(text: bytes) -> None:
    with pytest.raises(InvalidParameterError):
        parse_pax_time(text)
