import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.lib.ids import new_id
from kedge.network import names

IFNAMSIZ = 16


def test_the_default_root_has_the_plain_name() -> None:
    assert names.default_bridge_name("/var/lib/kedge") == "kedge0"
    assert names.default_bridge_name("/var/lib/../lib/kedge/") == "kedge0"


@given(st.text("abcdefgh/._-", min_size=1).map(lambda text: "/x" + text))
def test_names_fit_and_depend_on_the_root_alone(root: str) -> None:
    for name in (names.default_bridge_name(root), names.table_name(root)):
        assert len(name) < IFNAMSIZ
    assert names.table_name(root) == names.table_name(root + "/")


def test_links_of_one_container_differ() -> None:
    container = new_id()
    found = {names.veth_name(container, index) for index in range(36)}
    assert len(found) == 36
    assert all(len(name) < IFNAMSIZ and container[:10] in name for name in found)
    with pytest.raises(ValueError, match="too many networks"):
        names.veth_name(container, 36)


def test_a_user_networks_bridge_is_named_as_docker_does() -> None:
    assert names.bridge_name("0123456789abcdef" * 4) == "br-0123456789ab"


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
def test_macs_are_local_unicast_and_as_distinct_as_addresses(one: bytes, other: bytes) -> None:
    first = int(names.mac_for(one)[:2], 16)
    assert first & 0b11 == 0b10
    assert (names.mac_for(one) == names.mac_for(other)) == (one == other)
    assert len(names.mac_for(bytes(16))) == 17
