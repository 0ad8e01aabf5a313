"""Macvlan and ipvlan networks on a host of dictionaries."""

from pathlib import Path

import pytest

from kedge.errdefs import ForbiddenError, InvalidParameterError
from kedge.lib.database import Database
from kedge.lib.ids import new_id
from kedge.linux import rtnetlink as rt
from kedge.network.controller import NetworkController
from kedge.network.model import Driver, Network, NetworkSpec
from tests.unit.network.fake_kernel import FakeKernel


@pytest.fixture
def kernel() -> FakeKernel:
    kernel = FakeKernel()
    kernel.batch([rt.new_bridge("wire0", mac="02:00:00:00:00:07", mtu=1500)])
    return kernel


@pytest.fixture
def networks(tmp_path: Path, kernel: FakeKernel) -> NetworkController:
    return NetworkController(Database(str(tmp_path / "state.db")), "/srv/kedge", kernel=kernel)


def make(
    networks: NetworkController, name: str = "lan", driver: str = "macvlan", **options: str
) -> Network:
    spec = NetworkSpec(name=name, driver=Driver(driver), options=options)
    return networks.create_network(spec)


def join(networks: NetworkController, network: str) -> None:
    container = new_id()
    networks.create_endpoint(container, network)
    networks.connect(container, netns_fd=10, rtnl_fd=11)
    networks.remove_endpoint(container)
    networks.drain()


def test_a_parent_of_the_host_stays_when_the_network_goes(
    networks: NetworkController, kernel: FakeKernel
) -> None:
    network = make(networks, parent="wire0")
    assert (network.bridge, network.parent, network.owns_link) == ("", "wire0", False)
    join(networks, "lan")
    networks.remove_network("lan")
    assert "wire0" in kernel.present


def test_a_sub_interface_is_made_when_needed_and_removed_with_the_network(
    networks: NetworkController, kernel: FakeKernel
) -> None:
    network = make(networks, parent="wire0.10")
    assert network.owns_link
    assert "wire0.10" not in kernel.present
    join(networks, "lan")
    assert kernel.present["wire0.10"].kind == "vlan"
    networks.remove_network("lan")
    networks.drain()
    assert "wire0.10" not in kernel.present


def test_without_a_parent_the_network_is_a_dead_end_on_a_dummy(
    networks: NetworkController, kernel: FakeKernel
) -> None:
    network = make(networks)
    assert network.is_internal
    join(networks, "lan")
    assert kernel.present[f"dm-{network.id[:12]}"].kind == "dummy"
    networks.remove_network("lan")
    networks.drain()
    assert not [name for name in kernel.present if name.startswith("dm-")]


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ("gone0", "name one of its links"),
        ("gone0.10", "no link gone0"),
        ("wire0.0", "vlan id must be between 1-4094"),
        ("wire0.4095", "vlan id must be between 1-4094"),
        ("wire0.x", "name one of its links"),
        ("lo", "loopback interface is not a valid macvlan parent link"),
    ],
)
def test_what_is_no_parent(networks: NetworkController, parent: str, said: str) -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        make(networks, parent=parent)
    assert said.replace("macvlan ", "") in str(refusal.value).replace("macvlan ", "")
    assert networks.try_get("lan") is None


def test_networks_share_a_parent_where_the_kernel_lets_them(networks: NetworkController) -> None:
    make(networks, "one", parent="wire0")
    make(networks, "two", parent="wire0")
    with pytest.raises(ForbiddenError, match="network one is already using parent"):
        make(networks, "three", parent="wire0", macvlan_mode="passthru")
    with pytest.raises(ForbiddenError, match="network one is already using parent"):
        make(networks, "three", "ipvlan", parent="wire0")


def test_an_l3_network_has_default_routes_without_gateways(networks: NetworkController) -> None:
    make(networks, driver="ipvlan", parent="wire0", ipvlan_mode="l3")
    endpoint = networks.create_endpoint(new_id(), "lan")
    assert endpoint.extras.is_on_link
    assert (endpoint.gateway4, endpoint.mac) == (None, "")
