import contextlib
import errno
from pathlib import Path

import pytest

from kedge.errdefs import (
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    SystemFailureError,
)
from kedge.lib.database import Database
from kedge.lib.ids import new_id
from kedge.network.controller import NetworkController
from kedge.network.ipam import parse_network
from kedge.network.model import Driver, NetworkOptions, NetworkSpec, Subnet
from tests.unit.network.fake_kernel import Crash, FakeKernel, route


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "state.db"))


def controller(
    database: Database, kernel: FakeKernel, options: NetworkOptions | None = None
) -> NetworkController:
    return NetworkController(database, "/srv/kedge", options, kernel=kernel)


def connect(networks: NetworkController, container_id: str) -> None:
    networks.connect(container_id, netns_fd=10, rtnl_fd=11)


def test_three_networks_exist_and_keep_their_ids(database: Database, kernel: FakeKernel) -> None:
    first = controller(database, kernel)
    assert [(n.name, n.driver) for n in first.networks()] == [
        ("bridge", Driver.BRIDGE),
        ("host", Driver.HOST),
        ("none", Driver.NULL),
    ]
    second = controller(database, kernel)
    assert second.networks() == first.networks()
    assert second.get(first.get("bridge").id[:10]).name == "bridge"
    # Records only: an engine nobody uses changes nothing on the host.
    assert kernel.steps == 0


def test_the_bridge_is_named_after_the_data_root(database: Database, kernel: FakeKernel) -> None:
    name = controller(database, kernel).get("bridge").bridge
    assert name.startswith("kedge-")
    other = NetworkController(Database(":memory:"), "/var/lib/kedge", kernel=kernel)
    assert other.get("bridge").bridge == "kedge0"


def test_ipv6_is_used_where_the_kernel_has_it(database: Database, kernel: FakeKernel) -> None:
    bridge = controller(database, kernel).get("bridge")
    prefix = bridge.subnets[1].network
    assert prefix.prefixlen == 64
    assert prefix.subnet_of(parse_network("fd00::/8"))  # type: ignore[arg-type]
    kernel.is_ipv6_there = False
    assert len(controller(database, kernel).get("bridge").subnets) == 1
    kernel.is_ipv6_there = True
    assert controller(database, kernel).get("bridge").subnets[1].network == prefix
    options = NetworkOptions(ipv6=False)
    assert not controller(database, kernel, options).get("bridge").enable_ipv6


def test_bip(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel, NetworkOptions(bip="10.9.0.1/24", ipv6=False))
    endpoint = networks.create_endpoint(new_id(), "bridge")
    assert str(endpoint.ipv4) == "10.9.0.2/24"
    assert str(endpoint.gateway4) == "10.9.0.1"
    for bad in ("10.9.0.0/24", "10.9.0.1/31", "ten", "10.9.0.255/24"):
        with pytest.raises(InvalidParameterError, match="invalid bip"):
            controller(Database(":memory:"), kernel, NetworkOptions(bip=bad))


def test_the_default_subnet_avoids_routes(database: Database, kernel: FakeKernel) -> None:
    kernel.route_table = [route("0.0.0.0/0"), route("172.16.0.0/14"), route("fe80::/64")]
    bridge = controller(database, kernel).get("bridge")
    assert str(bridge.subnets[0].network) == "172.20.0.0/16"


def test_an_endpoint_has_addresses_a_mac_and_a_link(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    container = new_id()
    endpoint = networks.create_endpoint(container, "bridge")
    assert str(endpoint.ipv4) == "172.17.0.2/16"
    assert endpoint.mac == "02:42:ac:11:00:02"
    assert endpoint.link == f"veth{container[:10]}0"
    connect(networks, container)
    assert endpoint.link in kernel.present
    assert kernel.sandboxes[11] == [
        "change link 1",
        "add address 172.17.0.2/16",
        f"add address {endpoint.ipv6}",
        "change link 2",
        "add route 0.0.0.0/0",
        "add route ::/0",
    ]
    networks.close(remove=True)


def test_the_filter_is_one_transaction_and_made_once(
    database: Database, kernel: FakeKernel
) -> None:
    networks = controller(database, kernel)
    networks.create_endpoint(new_id(), "bridge")
    networks.create_endpoint(new_id(), "bridge")
    assert len(kernel.commits) == 1
    networks.create_network(NetworkSpec(name="other"))
    networks.create_endpoint(new_id(), "other")
    assert len(kernel.commits) == 2
    assert all(what.startswith("add to set") for what in kernel.commits[1])


def test_a_refused_filter_is_asked_for_again(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    kernel.commit_error = errno.ENOMEM
    with pytest.raises(SystemFailureError, match="cannot change the packet filter: test"):
        networks.create_endpoint(new_id(), "bridge")
    assert networks.endpoints() == []
    kernel.commit_error = 0
    networks.create_endpoint(new_id(), "bridge")
    assert len(kernel.commits) == 1


def test_without_a_packet_filter_it_says_so(database: Database, kernel: FakeKernel) -> None:
    kernel.is_filter_there = False
    networks = controller(database, kernel)
    networks.create_endpoint(new_id(), "bridge")
    networks.create_endpoint(new_id(), "bridge")
    assert len(networks.problems()) == 1
    assert "no nf_tables" in networks.problems()[0]
    assert kernel.commits == []


def test_forwarding_is_switched_on_and_remembered(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    networks.create_endpoint(new_id(), "bridge")
    assert kernel.sysctls["ipv4/ip_forward"] == "1"
    assert database.query("SELECT value FROM network_facts WHERE name = 'switched_on'") == [
        ("ipv4/ip_forward ipv6/conf/all/forwarding",)
    ]
    other = FakeKernel()
    options = NetworkOptions(ip_forward=False)
    controller(Database(":memory:"), other, options).create_endpoint(new_id(), "bridge")
    assert "ipv4/ip_forward" not in other.sysctls


def test_networks_of_the_user(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    network = networks.create_network(NetworkSpec(name="shop", labels={"a": "b"}))
    assert str(network.subnets[0].network) == "172.18.0.0/24"
    assert network.bridge == f"br-{network.id[:12]}"
    again = controller(database, kernel)
    assert again.get("shop") == network
    again.remove_network("shop")
    with pytest.raises(NotFoundError, match="network shop not found"):
        controller(database, kernel).get("shop")


def test_a_removed_network_is_gone_at_once_and_its_links_for_certain(
    database: Database, kernel: FakeKernel
) -> None:
    networks = controller(database, kernel)
    network = networks.create_network(NetworkSpec(name="shop"))
    container = new_id()
    networks.create_endpoint(container, "shop")
    connect(networks, container)
    # As if the engine died before the background got to it.
    kernel.refuses_removal = True
    networks.remove_endpoint(container)
    networks.remove_network("shop")
    with pytest.raises(NotFoundError):
        networks.get("shop")
    networks.close()
    assert network.bridge in kernel.present
    kernel.refuses_removal = False
    again = controller(database, kernel)
    again.restore([])
    # A new network of that name gets the same subnet: nothing of the last one is in its way.
    assert again.create_network(NetworkSpec(name="shop")).subnets == network.subnets
    assert [name for name in kernel.present if name.startswith(("br-", "veth"))] == []
    assert database.query("SELECT link FROM network_leaving_links") == []
    assert database.query("SELECT id FROM network_endpoints") == []


def subnet(network: str, gateway: str) -> Subnet:
    parsed = parse_network(network)
    return Subnet(network=parsed, gateway=parsed[1].__class__(gateway))


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (NetworkSpec(name="-x"), InvalidParameterError, "invalid network name: '-x'"),
        (NetworkSpec(name="bridge"), ForbiddenError, "not permitted on predefined bridge network"),
        (NetworkSpec(name="back"), ConflictError, "network with name back already exists"),
        (
            NetworkSpec(name="x", subnets=(subnet("172.17.4.0/24", "172.17.4.1"),)),
            ForbiddenError,
            "172.17.4.0/24 overlaps network bridge",
        ),
        (
            NetworkSpec(name="x", subnets=(subnet("10.0.0.0/8", "10.0.0.1"),)),
            ForbiddenError,
            "10.0.0.0/8 overlaps the host's route to 10.5.0.0/16",
        ),
        (
            NetworkSpec(name="x", subnets=(subnet("10.6.0.0/24", "10.7.0.1"),)),
            InvalidParameterError,
            "no matching subnet for gateway 10.7.0.1",
        ),
    ],
)
def test_networks_that_cannot_be(
    database: Database,
    kernel: FakeKernel,
    spec: NetworkSpec,
    kind: type[Exception],
    message: str,
) -> None:
    kernel.route_table = [route("10.5.0.0/16")]
    networks = controller(database, kernel)
    networks.create_network(NetworkSpec(name="back"))
    with pytest.raises(kind) as caught:
        networks.create_network(spec)
    assert message in str(caught.value)


def test_predefined_networks_stay(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    for name in ("bridge", "host", "none"):
        with pytest.raises(ForbiddenError, match=f"{name} is a pre-defined network"):
            networks.remove_network(name)


def test_no_endpoint_no_connection(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    with pytest.raises(NotFoundError, match="has no network endpoint"):
        connect(networks, new_id())
    networks.remove_endpoint(new_id())


def play(networks: NetworkController) -> None:
    """A day in the life of an engine."""
    networks.create_network(NetworkSpec(name="other"))
    first, second = new_id(), new_id()
    for container in (first, second):
        networks.create_endpoint(container, "bridge")
        networks.create_endpoint(container, "other")
        connect(networks, container)
    networks.remove_endpoint(first)
    networks.close()


def test_a_crash_at_any_step_leaks_nothing(tmp_path: Path) -> None:
    clean = FakeKernel()
    clean.refuses_removal = True
    play(controller(Database(":memory:"), clean))
    assert clean.steps > 20
    for step in range(1, clean.steps + 1):
        kernel = FakeKernel()
        kernel.crash_at = step
        # What the background would have removed is still there when the engine dies.
        kernel.refuses_removal = True
        database = Database(str(tmp_path / f"{step}.db"))
        dying = controller(database, kernel)
        with contextlib.suppress(Crash):
            play(dying)
        dying.close()
        kernel.refuses_removal = False
        networks = controller(database, kernel)
        networks.restore([])
        networks.drain()
        assert networks.endpoints() == []
        assert not any(name.startswith("veth") for name in kernel.present)
        assert database.query("SELECT id FROM network_endpoints") == []
        fresh = networks.create_endpoint(new_id(), "bridge")
        assert str(fresh.ipv4) == "172.17.0.2/16"
        networks.close(remove=True)
        assert list(kernel.present) == ["lo"]
        database.close()


def test_a_running_container_survives_a_restart(database: Database, kernel: FakeKernel) -> None:
    networks = controller(database, kernel)
    alive, dead = new_id(), new_id()
    for container in (alive, dead):
        networks.create_endpoint(container, "bridge")
        connect(networks, container)
    endpoint = networks.endpoints(container_id=alive)[0]
    networks.close()
    networks = controller(database, kernel)
    report = networks.restore([alive])
    assert report.removed_endpoints == (dead,)
    networks.drain()
    assert networks.endpoints() == [endpoint]
    assert endpoint.link in kernel.present
    # The dead one's address is free, the living one's is not.
    assert str(networks.create_endpoint(new_id(), "bridge").ipv4) == "172.17.0.3/16"
    networks.close(remove=True)
