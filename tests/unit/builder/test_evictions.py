"""What leaves the build cache, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.builder.evictions import (
    Amount,
    Disk,
    Item,
    Policy,
    parse_amount,
    parse_fits,
    select_evicted,
)
from kedge.engine.buildgc import DEFAULT_POLICY, parse_gc
from kedge.errdefs import InvalidParameterError
from kedge.lib.filters import Filters

DISK = Disk(1000, 500)
HOUR_NS = 3600 * 10**9


class Noon:
    """A clock that stands."""

    def time_ns(self) -> int:
        return 100 * HOUR_NS

    def monotonic(self) -> float:
        return 0.0


def item(name: str, size: int = 10, used_h: int = 0, **facts: bool) -> Item:
    return Item(
        id=name,
        kind="exec.cachemount" if name.startswith("mount") else "regular",
        description=f"RUN {name}",
        size_bytes=size,
        created_ns=used_h * HOUR_NS,
        last_used_ns=used_h * HOUR_NS,
        is_shared=facts.get("shared", False),
        is_used=facts.get("used", False),
    )


def names(items: list[Item]) -> list[str]:
    return [each.id for each in items]


ITEMS = [
    item("new", used_h=99),
    item("old", used_h=1),
    item("image", 0, used_h=2, shared=True),
    item("mount", used_h=50),
    item("busy", used_h=3, used=True),
]


def test_without_limits_everything_goes_but_what_is_in_use() -> None:
    assert names(select_evicted(ITEMS, Policy(), DISK)) == ["old", "mount", "new"]
    assert "image" in names(select_evicted(ITEMS, Policy(takes_shared=True), DISK))


def test_limits_keep_what_was_used_last() -> None:
    most = Policy(max_used=Amount(size_bytes=20))
    assert names(select_evicted(ITEMS, most, DISK)) == ["old", "mount"]
    reserved = Policy(reserved=Amount(size_bytes=30))
    assert names(select_evicted(ITEMS, reserved, DISK)) == ["old"]
    full = Policy(min_free=Amount(percent=51))
    assert names(select_evicted(ITEMS, full, DISK)) == ["old"]
    assert select_evicted(ITEMS, Policy(min_free=Amount(percent=50)), DISK) == []
    held = Policy(reserved=Amount(size_bytes=40), min_free=Amount(percent=90))
    assert select_evicted(ITEMS, held, DISK) == []


def test_layers_used_at_once_go_from_the_top() -> None:
    low, high = item("low"), item("high")._replace(created_ns=5)
    assert names(select_evicted([low, high], Policy(), DISK)) == ["high", "low"]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.booleans()), max_size=20),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_never_below_what_is_reserved_nor_more_than_needed(
    facts: list[tuple[int, int, bool]], most: int, reserved: int
) -> None:
    items = [item(str(i), size, used, used=busy) for i, (size, used, busy) in enumerate(facts)]
    policy = Policy(max_used=Amount(size_bytes=most), reserved=Amount(size_bytes=reserved))
    evicted = select_evicted(items, policy, DISK)
    assert not any(each.is_used for each in evicted)
    goal = max(most, reserved)
    if goal and evicted:
        left = sum(each.size_bytes for each in items) - sum(e.size_bytes for e in evicted[:-1])
        assert left > goal, "the last one was not needed"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"until": ["24h"]}, ["old", "image", "mount"]),
        ({"unused-for": ["98h"]}, ["old", "image"]),
        ({"type": ["exec.cachemount"]}, ["mount"]),
        ({"id": ["ne"]}, ["new"]),
        ({"description": ["RUN ol"]}, ["old"]),
        ({"shared": ["true"]}, ["image"]),
        ({"private": ["false"]}, ["image"]),
        ({"inuse": ["false"], "type": ["exec.cachemount"]}, ["mount"]),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: list[str]) -> None:
    policy = Policy(takes_shared=True, fits=parse_fits(Filters(filters), Noon()))
    assert names(select_evicted(ITEMS, policy, DISK)) == expected


def test_amounts() -> None:
    assert parse_amount("20GB").of(0) == 20 * 10**9
    assert parse_amount("10%").of(1000) == 100
    assert Amount(percent=75, at_most=100).of(1000) == 100
    for text in ("120%", "x%", "lots"):
        with pytest.raises(InvalidParameterError, match="invalid size"):
            parse_amount(text)


def test_the_policy_of_the_configuration() -> None:
    assert parse_gc({}) == (DEFAULT_POLICY,)
    assert parse_gc({"enabled": False}) == ()
    (policy,) = parse_gc({"enabled": True, "defaultKeepStorage": "1GB"})
    assert policy.reserved.of(10**15) == 10**9
    first, second = parse_gc(
        {"policy": [{"keepDuration": "48h", "filter": ["type=regular"]}, {"all": True}]}, Noon()
    )
    assert names(select_evicted(ITEMS, first, DISK)) == ["old"]
    assert second.takes_shared
    for document, message in (
        ({"enable": True}, "builder.gc has no enable: use enabled"),
        ({"defaultReservedSpace": "lots"}, "defaultReservedSpace: invalid size"),
        ({"policy": [{"filter": ["x"]}]}, "want NAME=VALUE"),
        ({"policy": 3}, "want a list"),
        (7, "want an object"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            parse_gc(document)  # type: ignore[arg-type]
