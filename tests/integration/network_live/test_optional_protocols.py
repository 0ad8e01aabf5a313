"""What not every kernel has: ipvlan links and SCTP sockets, with real traffic.

Each test asks the kernel first; ``make test-vm`` runs them on kernels that have both.
"""

import contextlib
import errno
import socket
import subprocess
from functools import partial
from ipaddress import ip_interface
from pathlib import Path

import pytest

from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.netlink import NETLINK_ROUTE, NetlinkSocket
from kedge.network.ipam import parse_address, parse_network
from kedge.network.model import Driver, NetworkSpec, PortBinding, Subnet
from tests.integration.network_live.lab import (
    TIMEOUT_S,
    Namespace,
    Outside,
    ask,
    has_ipvlan,
    host,
    is_reachable,
    own_network,
)

pytestmark = pytest.mark.integration
_SCTP = 132
_HOST, _NEIGHBOUR = "192.168.77.9", "192.168.77.1"
_ON_WIRE = Subnet(network=parse_network("192.168.77.0/24"), gateway=parse_address(_NEIGHBOUR))
_BEHIND = Subnet(network=parse_network("10.88.0.0/24"), gateway=parse_address("10.88.0.1"))


@pytest.fixture
def ipvlan() -> None:
    if not has_ipvlan():
        pytest.skip("this kernel has no ipvlan driver")


@pytest.fixture
def sctp() -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, _SCTP).close()
    except OSError as error:
        if error.errno not in {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}:
            raise
        pytest.skip("this kernel has no SCTP sockets")


def output(command: str) -> str:
    """Return the words that are printed, with one blank between them."""
    done = subprocess.run(command.split(), check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split())


def mac(link: str) -> str:
    return output(f"ip -o link show {link}").partition("link/ether ")[2].split()[0]


def wired() -> Namespace:
    """Put a neighbour, who is the gateway, on the host's wire ``wire0``."""
    neighbour = Namespace()
    with (
        NetlinkSocket(NETLINK_ROUTE) as here,
        NetlinkSocket(NETLINK_ROUTE, descriptor=neighbour.rtnl_fd) as there,
    ):
        peer = rt.VethPeer("far0", neighbour.netns_fd, "02:00:00:00:00:99")
        here.batch([rt.new_veth("wire0", peer, mtu=1500)])
        for route, name, address in ((here, "wire0", _HOST), (there, "far0", _NEIGHBOUR)):
            index = rt.parse_link(route.query(rt.get_link(name))[0]).ifindex
            interface = ip_interface(f"{address}/24")
            route.batch([rt.set_link(index, up=True), ra.new_address(index, interface)])
    return neighbour


@own_network
def test_ipvlan_containers_share_the_wires_mac_address(ipvlan: None, tmp_path: Path) -> None:
    neighbour = wired()
    with host(tmp_path) as machine:
        machine.controller.create_network(
            NetworkSpec(
                name="lan", driver=Driver.IPVLAN, subnets=(_ON_WIRE,), options={"parent": "wire0"}
            )
        )
        for name in ("one", "two"):
            machine.run(name, network="lan")
        one, address = machine.spaces["one"], machine.address("two")
        machine.serve("two", 80)
        # The answer is the address the client came from: nothing on the way has changed it.
        assert one.run(lambda: ask(address, 80)) == machine.address("one")
        assert neighbour.run(lambda: ask(address, 80)) == _NEIGHBOUR
        macs = {machine.spaces[name].run(lambda: mac("eth0")) for name in ("one", "two")}
        assert macs == {mac("wire0")}
        assert "ipvlan mode l2" in one.run(lambda: output("ip -d link show eth0"))
        assert f"default via {_NEIGHBOUR}" in one.run(lambda: output("ip route"))
        machine.controller.leave(machine.id("one"), ["lan"], rtnl_fd=one.rtnl_fd)
        assert "eth0" not in one.run(lambda: output("ip -o link"))
        for name in ("one", "two"):
            machine.controller.remove_endpoint(machine.id(name))
        machine.controller.remove_network("lan")
        assert "wire0" in output("ip -o link")
    neighbour.close()


@own_network
@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_ipvlan_routes_for_containers(ipvlan: None, tmp_path: Path, mode: str) -> None:
    neighbour = wired()
    with host(tmp_path) as machine:
        options = {"parent": "wire0", "ipvlan_mode": mode}
        machine.controller.create_network(
            NetworkSpec(name="far", driver=Driver.IPVLAN, subnets=(_BEHIND,), options=options)
        )
        for name in ("one", "two"):
            machine.run(name, network="far")
        one, address = machine.spaces["one"], machine.address("two")
        machine.serve("two", 80)
        neighbour.run(lambda: output(f"ip route add 10.88.0.0/24 via {_HOST}"))
        assert one.run(lambda: ask(address, 80)) == machine.address("one")
        assert neighbour.run(lambda: ask(address, 80)) == _NEIGHBOUR
        assert f"ipvlan mode {mode}" in one.run(lambda: output("ip -d link show eth0"))
        # Behind a router there is no gateway in the subnet: the link itself is the way.
        assert one.run(lambda: output("ip route show default")).startswith("default dev eth0")
    neighbour.close()


@own_network
def test_private_ipvlan_containers_do_not_reach_each_other(ipvlan: None, tmp_path: Path) -> None:
    neighbour = wired()
    with host(tmp_path) as machine:
        options = {"parent": "wire0", "ipvlan_flag": "private"}
        machine.controller.create_network(
            NetworkSpec(name="lan", driver=Driver.IPVLAN, subnets=(_ON_WIRE,), options=options)
        )
        for name in ("one", "two"):
            machine.run(name, network="lan")
        address = machine.address("two")
        machine.serve("two", 80)
        assert neighbour.run(lambda: ask(address, 80)) == _NEIGHBOUR
        assert not machine.spaces["one"].run(lambda: is_reachable(address, 80))
    neighbour.close()


def listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM, _SCTP)
    server.settimeout(TIMEOUT_S)
    server.bind((address, port))
    server.listen()
    return server


def dial(address: str, port: int, source: str) -> socket.socket:
    """Connect from one address: an association would otherwise offer all that a host has."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM, _SCTP)
    client.settimeout(TIMEOUT_S)
    client.bind((source, 0))
    client.connect((address, port))
    return client


@own_network
def test_sctp_associations_go_through_a_published_port(sctp: None, tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("web", PortBinding(protocol="sctp", container_port=132, host_port=3868))
        machine.run("app")
        web = machine.spaces["web"]
        for version, at, far in (
            (4, outside.HOST4, outside.ADDRESS4),
            (6, outside.HOST6, outside.ADDRESS6),
        ):
            server = web.run(partial(listen, machine.address("web", version), 132))
            gateway = machine.controller.endpoints(container_id=machine.id("web"))[0]
            own = str(gateway.gateway4 if version == 4 else gateway.gateway6)
            app = machine.address("app", version)
            with contextlib.closing(server):
                for space, source, expected in (
                    (outside, far, far),
                    # The neighbour's answer has to come back by the host: hairpin.
                    (machine.spaces["app"], app, own),
                ):
                    with space.run(partial(dial, at, 3868, source)) as client:
                        peer, seen = server.accept()
                        with peer:
                            assert seen[0] == expected
                            client.sendall(b"question")
                            assert peer.recv(100) == b"question"
                            peer.sendall(b"answer")
                            assert client.recv(100) == b"answer"
    outside.close()
