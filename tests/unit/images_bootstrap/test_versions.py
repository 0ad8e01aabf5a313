"""Versions sort as deb-version(7) says."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.images.bootstrap.versions import compare_versions, satisfies

ORDER = [
    "0.9~~", "0.9~~a", "0.9~", "0.9", "0.9+b1", "1.0~rc1-1", "1.0-0.1", "1.0-1", "1.0-1+b1",
    "1.0-1+deb12u1", "1.0-1+deb12u2", "1.0-1.1", "1.0-10", "1.0a-1", "1.0+dfsg-1", "1.2", "1.10",
    "10", "1:0.1",
]  # fmt: skip

versions = st.from_regex(
    r"(?:[0-9]{1,2}:)?[0-9][a-z0-9.+~]{0,6}(?:-[a-z0-9.+~]{1,5})?", fullmatch=True
)


def test_order() -> None:
    for older, newer in itertools.combinations(ORDER, 2):
        assert compare_versions(older, newer) < 0, (older, newer)
        assert compare_versions(newer, older) > 0, (older, newer)


@pytest.mark.parametrize(("left", "right"), [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.01", "1.1")])
def test_equal(left: str, right: str) -> None:
    assert compare_versions(left, right) == 0


@given(versions, versions, versions)
def test_is_an_order(first: str, second: str, third: str) -> None:
    assert compare_versions(first, first) == 0
    assert (compare_versions(first, second) > 0) == (compare_versions(second, first) < 0)
    if compare_versions(first, second) <= 0 and compare_versions(second, third) <= 0:
        assert compare_versions(first, third) <= 0


@pytest.mark.parametrize(
    ("relation", "holds"),
    [(">=", True), ("<=", False), (">>", True), ("<<", False), ("=", False), ("~", False)],
)
def test_relations(relation: str, *, holds: bool) -> None:
    assert satisfies("2.0-1", relation, "1.9-9") is holds
