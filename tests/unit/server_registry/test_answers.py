import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.registry.failures import STATUSES, DistributionError, ErrorCode
from kedge.server.registry.answers import (
    ByteRange,
    next_page,
    parse_chunk_start,
    parse_page,
    parse_range,
)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-", ByteRange(0, 10)),
        ("bytes=3-5", ByteRange(3, 3)),
        ("bytes=9-100", ByteRange(9, 1)),
        ("bytes=-4", ByteRange(6, 4)),
        ("bytes=-40", ByteRange(0, 10)),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(header: str, part: ByteRange | None) -> None:
    assert parse_range(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=11-12", "bytes=5-4", "bytes=-0"])
def test_ranges_that_are_not_there(header: str) -> None:
    with pytest.raises(DistributionError, match="have no range") as caught:
        parse_range(header, 10)
    assert caught.value.code is ErrorCode.RANGE_INVALID
    assert caught.value.headers == (("Content-Range", "bytes */10"),)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40))
def test_a_range_never_leaves_the_blob(first: int, last: int, size: int) -> None:
    try:
        part = parse_range(f"bytes={first}-{last}", size)
    except DistributionError:
        assert first >= size or last < first
        return
    assert part == ByteRange(first, min(last, size - 1) - first + 1)


def test_chunks() -> None:
    assert parse_chunk_start("") is None
    assert parse_chunk_start("0-9") == (0, 9)
    assert parse_chunk_start("bytes 5-9/10") == (5, 9)
    for bad in ("x", "9-5", "-5", "5-"):
        with pytest.raises(DistributionError, match="invalid Content-Range"):
            parse_chunk_start(bad)


def test_pages() -> None:
    assert parse_page([]) == -1
    assert parse_page(["7"]) == 7
    assert parse_page(["999999999"]) == 10_000
    for bad in ("-1", "x", "1e3", "٣"):
        with pytest.raises(DistributionError, match="invalid number of results"):
            parse_page([bad])
    assert next_page("/v2/_catalog", ["a"], 2) == ()
    assert next_page("/v2/_catalog", ["a", "b&c"], 2) == (
        ("Link", '</v2/_catalog?n=2&last=b%26c>; rel="next"'),
    )
    assert next_page("/v2/_catalog", [], 0) == ()


def test_every_code_has_a_status() -> None:
    assert set(STATUSES) == set(ErrorCode)
