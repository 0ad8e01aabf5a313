"""Whose network has the default routes."""

import ipaddress

import pytest

from kedge.network.gateway import gateway_versions, try_gateway
from kedge.network.model import Driver, Endpoint


def endpoint(name: str, *, four: bool = True, six: bool = False) -> Endpoint:
    return Endpoint(
        id=name,
        container_id="c",
        network_id=name,
        network_name=name,
        driver=Driver.BRIDGE,
        gateway4=ipaddress.IPv4Address("10.0.0.1") if four else None,
        gateway6=ipaddress.IPv6Address("fd00::1") if six else None,
    )


INTERNAL = endpoint("aaa", four=False)
A, B, C = endpoint("a"), endpoint("b", six=True), endpoint("c", six=True)


@pytest.mark.parametrize(
    ("endpoints", "priorities", "winners"),
    [
        ([], {}, (None, None)),
        ([INTERNAL], {}, (None, None)),
        ([C, A, INTERNAL], {}, ("a", "c")),
        ([C, B, A], {}, ("a", "b")),
        ([A, B, C], {"c": 1}, ("c", "c")),
        ([A, B, C], {"a": -1, "b": -2}, ("c", "c")),
        ([A, INTERNAL], {"aaa": 9}, ("a", None)),
    ],
)
def test_priority_then_name(
    endpoints: list[Endpoint], priorities: dict[str, int], winners: tuple[str | None, str | None]
) -> None:
    found = tuple(try_gateway(endpoints, priorities, version) for version in (4, 6))
    assert tuple(item and item.id for item in found) == winners


def test_each_version_is_decided_on_its_own() -> None:
    assert gateway_versions(A, [A, B], {}) == {4}
    assert gateway_versions(B, [A, B], {}) == {6}
