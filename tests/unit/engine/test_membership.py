"""Which networks a container is to be in."""

import ipaddress

import pytest

from kedge.api.types.config import ContainerConfig, EndpointIPAMConfig, EndpointSettings, HostConfig
from kedge.engine.membership import (
    check_can_join,
    check_wish,
    chosen_macs,
    dns_names,
    initial_networks,
)
from kedge.engine.record import ContainerRecord
from kedge.errdefs import ForbiddenError, InvalidParameterError
from kedge.network.model import Driver, Network, Subnet

ASKED = EndpointSettings(aliases=["a"])


def network(name: str, driver: Driver = Driver.BRIDGE, *, automatic: bool = False) -> Network:
    subnet = Subnet(
        network=ipaddress.ip_network("10.1.0.0/24"),
        gateway=ipaddress.ip_address("10.1.0.1"),
        is_automatic=automatic,
    )
    return Network(id=name[0] * 64, name=name, driver=driver, created_ns=1, subnets=(subnet,))


NETWORKS = {
    item.name: item
    for item in (
        network("bridge", automatic=True),
        network("host", Driver.HOST),
        network("none", Driver.NULL),
        network("shop"),
        network("lab", automatic=True),
    )
}


def find(reference: str) -> Network | None:
    by_id = {item.id: item for item in NETWORKS.values()}
    return NETWORKS.get(reference) or by_id.get(reference)


def record(mode: str = "bridge", *names: str) -> ContainerRecord:
    return ContainerRecord(
        id="f" * 64, name="web", created_ns=1, image_id="i", path="sh", args=[],
        config=ContainerConfig(hostname="www"), host_config=HostConfig(network_mode=mode),
        networks={name: EndpointSettings() for name in names},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "asked", "names"),
    [
        ("default", [], ["bridge"]),
        ("bridge", [], ["bridge"]),
        ("default", ["shop"], ["shop"]),
        ("default", ["default"], ["bridge"]),
        ("shop", [], ["shop"]),
        ("s" * 64, [], ["shop"]),
        ("shop", ["lab"], ["shop", "lab"]),
        ("shop", ["lab", "s" * 64], ["shop", "lab"]),
        ("none", [], ["none"]),
        ("host", [], ["host"]),
        ("gone", [], ["gone"]),
        ("container:x", ["shop"], []),
    ],
)
def test_the_mode_comes_first(mode: str, asked: list[str], names: list[str]) -> None:
    found = initial_networks(mode, dict.fromkeys(asked, None), find)
    assert list(found) == names


def test_what_is_asked_of_a_network_by_id_belongs_to_its_name() -> None:
    assert initial_networks("shop", {"s" * 64: ASKED}, find) == {"shop": ASKED}


@pytest.mark.parametrize(("mode", "other"), [("host", "shop"), ("none", "shop"), ("shop", "none")])
def test_some_networks_stand_alone(mode: str, other: str) -> None:
    with pytest.raises(ForbiddenError):
        initial_networks(mode, {other: None}, find)


@pytest.mark.parametrize("mode", ["host", "container:db", "none"])
def test_who_shares_a_network_joins_no_other(mode: str) -> None:
    names = [mode] if mode in NETWORKS else []
    with pytest.raises(ForbiddenError):
        check_can_join(record(mode, *names), NETWORKS["shop"])


def test_a_network_is_joined_once() -> None:
    check_can_join(record("bridge", "bridge"), NETWORKS["shop"])
    with pytest.raises(ForbiddenError, match="endpoint with name web already exists in network"):
        check_can_join(record("shop", "shop"), NETWORKS["shop"])


@pytest.mark.parametrize(
    ("name", "wish", "message"),
    [
        ("bridge", EndpointSettings(aliases=["a"]), "only supported for user-defined networks"),
        (
            "bridge",
            EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.1.0.7")),
            "supported on user defined networks only",
        ),
        (
            "lab",
            EndpointSettings(ipam_config=EndpointIPAMConfig(ipv6_address="fd00::7")),
            "with user configured subnets: make network lab with --subnet",
        ),
    ],
)
def test_a_network_says_what_it_cannot_do(name: str, wish: EndpointSettings, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        check_wish(NETWORKS[name], wish)


def test_the_names_of_a_container() -> None:
    wish = EndpointSettings(aliases=["shop", "web"])
    assert dns_names(record(), wish) == ["web", "shop", "f" * 12, "www"]


def test_the_old_mac_address_is_for_the_first_network() -> None:
    networks = {"a": EndpointSettings(), "b": EndpointSettings(mac_address="02:00:00:00:00:02")}
    assert chosen_macs(networks, "02:00:00:00:00:01") == {
        "a": "02:00:00:00:00:01",
        "b": "02:00:00:00:00:02",
    }
    assert chosen_macs({}, "02:00:00:00:00:01") == {}
