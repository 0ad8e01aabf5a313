import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.runtime.cgroups.conversions import (
    io_weight_from_blkio,
    limit_text,
    swap_from_memory_and_swap,
    weight_from_shares,
)


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 0), (1, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (10**9, 10000)],
)
def test_both_defaults_and_both_ends_of_the_cpu_scale_meet(shares: int, weight: int) -> None:
    assert weight_from_shares(shares) == weight


@given(st.integers(1, 300_000))
def test_more_shares_never_mean_less_weight(shares: int) -> None:
    assert 1 <= weight_from_shares(shares) <= weight_from_shares(shares + 1) <= 10000


@pytest.mark.parametrize(
    ("swap", "limit", "expected"), [(-1, None, -1), (300, 100, 200), (100, 100, 0), (-1, 100, -1)]
)
def test_v2_swap_is_what_v1_allows_beyond_memory(
    swap: int, limit: int | None, expected: int
) -> None:
    assert swap_from_memory_and_swap(swap=swap, limit=limit) == expected


@pytest.mark.parametrize(("swap", "limit"), [(100, 200), (100, None), (100, 0), (100, -1), (-2, 1)])
def test_swap_that_does_not_fit_the_memory_limit_is_refused(swap: int, limit: int | None) -> None:
    with pytest.raises(InvalidParameterError, match=r"swap"):
        swap_from_memory_and_swap(swap=swap, limit=limit)


@pytest.mark.parametrize(("blkio", "weight"), [(0, 0), (10, 1), (1000, 10000), (500, 4950)])
def test_io_weight_spans_the_whole_scale(blkio: int, weight: int) -> None:
    assert io_weight_from_blkio(blkio) == weight


@pytest.mark.parametrize("blkio", [9, 1001])
def test_io_weight_out_of_range_is_refused(blkio: int) -> None:
    with pytest.raises(InvalidParameterError, match="between 10 and 1000"):
        io_weight_from_blkio(blkio)


def test_minus_one_is_max() -> None:
    assert [limit_text(-1), limit_text(5)] == ["max", "5"]
