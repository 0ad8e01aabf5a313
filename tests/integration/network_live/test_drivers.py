"""Drivers and options on a real kernel: macvlan on a wire, names and switches of interfaces."""

import subprocess
from ipaddress import ip_interface
from pathlib import Path

import pytest

from kedge.errdefs import SystemFailureError
from kedge.lib.ids import new_id
from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.netlink import NETLINK_ROUTE, NetlinkSocket
from kedge.network.ipam import parse_address, parse_network
from kedge.network.model import Driver, EndpointExtras, EndpointSettings, NetworkSpec, Subnet
from tests.integration.network_live.lab import Namespace, ask, host, own_network

pytestmark = pytest.mark.integration
_SUBNET = Subnet(network=parse_network("192.168.77.0/24"), gateway=parse_address("192.168.77.1"))


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wire(outside: Namespace) -> None:
    """Put a neighbour, who is the gateway, on a wire called ``wire0``."""
    with NetlinkSocket(NETLINK_ROUTE) as route:
        peer = rt.VethPeer("far0", outside.netns_fd, "02:00:00:00:00:99")
        route.batch([rt.new_veth("wire0", peer, mtu=1500)])
    with NetlinkSocket(NETLINK_ROUTE, descriptor=outside.rtnl_fd) as route:
        far = rt.parse_link(route.query(rt.get_link("far0"))[0]).ifindex
        address = ip_interface("192.168.77.1/24")
        route.batch([rt.set_link(far, up=True), ra.new_address(far, address)])


def spec(name: str, driver: Driver = Driver.MACVLAN, **options: str) -> NetworkSpec:
    return NetworkSpec(name=name, driver=driver, subnets=(_SUBNET,), options=options)


@own_network
def test_macvlan_containers_are_on_the_wire_itself(tmp_path: Path) -> None:
    outside = Namespace()
    wire(outside)
    with host(tmp_path) as machine:
        machine.controller.create_network(spec("lan", parent="wire0"))
        machine.run("one", network="lan")
        machine.run("two", network="lan")
        address = machine.address("two")
        machine.serve("two", 80)
        # The answer is the address the client came from: nothing on the way has changed it.
        assert machine.spaces["one"].run(lambda: ask(address, 80)) == machine.address("one")
        assert outside.run(lambda: ask(address, 80)) == "192.168.77.1"
        routes = machine.spaces["one"].run(lambda: output("ip", "route"))
        assert "default via 192.168.77.1 dev eth0" in routes
        # A network without IPv6 takes none from a router on the wire, either.
        addresses = machine.spaces["one"].run(lambda: output("ip", "-6", "addr", "show", "eth0"))
        assert addresses == ""
        # A container of the same address again, before the kernel has the old one apart.
        machine.controller.remove_endpoint(machine.id("two"))
        machine.spaces.pop("two").close()
        machine.controller.drain()
        machine.run("three", network="lan")
        assert machine.address("three") == address
        machine.serve("three", 80)
        assert outside.run(lambda: ask(address, 80)) == "192.168.77.1"
        # Out of the network while it runs.
        one = machine.spaces["one"]
        machine.controller.leave(machine.id("one"), ["lan"], rtnl_fd=one.rtnl_fd)
        assert "eth0" not in one.run(lambda: output("ip", "-o", "link"))
        machine.controller.remove_endpoint(machine.id("three"))
        machine.controller.remove_network("lan")
        assert "wire0" in output("ip", "-o", "link")
    outside.close()


@own_network
@pytest.mark.parametrize("mode", ["private", "vepa", "passthru"])
def test_macvlan_modes_are_the_kernels(tmp_path: Path, mode: str) -> None:
    outside = Namespace()
    wire(outside)
    with host(tmp_path) as machine:
        machine.controller.create_network(spec("lan", parent="wire0", macvlan_mode=mode))
        machine.run("one", network="lan")
        details = machine.spaces["one"].run(lambda: output("ip", "-d", "link", "show", "eth0"))
        assert f"mode {mode}" in details
    outside.close()


@own_network
def test_a_driver_the_kernel_lacks_is_named(tmp_path: Path) -> None:
    outside = Namespace()
    wire(outside)
    with host(tmp_path) as machine:
        machine.controller.create_network(spec("lan", Driver.IPVLAN, parent="wire0"))
        refusals: list[str] = []
        try:
            machine.run("one", network="lan")
        except SystemFailureError as error:
            refusals.append(str(error))
        if refusals:
            assert "this kernel has no ipvlan driver" in refusals[0]
            machine.controller.remove_endpoint(machine.id("one"))
            assert machine.controller.endpoints(network="lan") == []
        else:
            details = machine.spaces["one"].run(lambda: output("ip", "-d", "link", "show", "eth0"))
            assert "ipvlan mode l2" in " ".join(details.split())
    outside.close()


@own_network
def test_name_switches_and_more_addresses_of_an_interface(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        container = new_id()
        machine.names[container] = "web"
        prefix = {"com.docker.network.container_iface_prefix": "lan"}
        machine.controller.create_network(NetworkSpec(name="shop", options=prefix))
        extras = EndpointExtras(
            ifname="wan7",
            link_local=(ip_interface("169.254.7.8/16"),),
            sysctls=(("ipv4/conf/IFNAME/log_martians", "1"),),
        )
        machine.controller.create_endpoint(container, "bridge", EndpointSettings(extras=extras))
        machine.controller.create_endpoint(container, "shop")
        machine.spaces["web"] = space = Namespace()
        machine.connect("web")
        addresses = space.run(lambda: output("ip", "-o", "addr"))
        assert "wan7" in addresses
        assert "169.254.7.8/16" in addresses
        assert "lan0" in addresses
        path = "/proc/sys/net/ipv4/conf/wan7/log_martians"
        assert space.run(lambda: Path(path).read_text().strip()) == "1"


@own_network
def test_a_bridge_that_was_there_before_outlives_the_network(tmp_path: Path) -> None:
    with NetlinkSocket(NETLINK_ROUTE) as route:
        route.batch([rt.new_bridge("mine0", mac="02:00:00:00:00:55", mtu=1500)])
        ifindex = rt.parse_link(route.query(rt.get_link("mine0"))[0]).ifindex
        route.batch([ra.new_address(ifindex, ip_interface("10.99.0.9/24"))])
    with host(tmp_path) as machine:
        options = {"com.docker.network.bridge.name": "mine0"}
        machine.controller.create_network(NetworkSpec(name="shop", options=options))
        machine.run("web", network="shop")
        machine.controller.remove_endpoint(machine.id("web"))
        machine.controller.remove_network("shop")
        assert "10.99.0.9/24" in output("ip", "-o", "addr", "show", "dev", "mine0")
