import pytest

from kedge.cli.moments import engine_moment
from kedge.errdefs import InvalidParameterError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ""),
        ("1700000000", "1700000000"),
        ("1700000000.5", "1700000000.5"),
        ("10m", "400.000000000"),
        ("1.5s", "998.500000000"),
        ("1970-01-01T00:16:40Z", "1000.000000000"),
        ("1970-01-01T00:16:40.123456789Z", "1000.123456789"),
        ("1970-01-01T01:16:40+01:00", "1000.000000000"),
        ("1970-01-01T01:16:40.5+01:00", "1000.500000000"),
    ],
)
def test_moments(given: str, expected: str) -> None:
    assert engine_moment(given, 1000.0) == expected


def test_no_moment() -> None:
    with pytest.raises(InvalidParameterError, match="invalid time: soon: want"):
        engine_moment("soon", 1000.0)
