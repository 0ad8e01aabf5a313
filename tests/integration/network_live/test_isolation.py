"""What a container that has every capability can reach of the host and of other networks."""

import contextlib
import socket
import subprocess
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from kedge.linux import rtnetlink as rt
from kedge.linux.netlink import NETLINK_ROUTE, NetlinkSocket
from kedge.network.model import NetworkSpec, PortBinding
from kedge.network.options import GATEWAY_MODE4, GATEWAY_MODE6
from kedge.network.spoofing import own_link_local
from tests.integration.network_live.lab import (
    WEB,
    Host,
    Outside,
    Server,
    ask,
    host,
    is_reachable,
    own_network,
    reaches,
    shell,
)

pytestmark = pytest.mark.integration

PRIVATE = 7777


@contextlib.contextmanager
def private_service() -> Generator[None]:
    """A service of the host's on every address of both IP versions."""
    with socket.create_server(("::", PRIVATE), family=socket.AF_INET6, dualstack_ipv6=True):
        yield


def gateways(machine: Host, network: str) -> list[str]:
    return [str(subnet.gateway) for subnet in machine.controller.get(network).subnets]


def link_local(link: str) -> str:
    """Return a link's link-local address; empty for none."""
    show = ("ip", "-6", "-o", "addr", "show", "dev", link, "scope", "link")
    words = subprocess.run(show, check=True, capture_output=True, text=True).stdout.split()
    return words[3].partition("/")[0] if words else ""


def mac_of(link: str) -> str:
    with NetlinkSocket(NETLINK_ROUTE) as route:
        return rt.parse_link(route.query(rt.get_link(link))[0]).mac


def reached(machine: Host, name: str, goals: list[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return which of the goals a container gets through to, with a route to everything."""
    (endpoint, *_) = machine.controller.endpoints(container_id=machine.id(name))
    four, six = gateways(machine, endpoint.network_name)

    def look() -> set[tuple[str, int]]:
        shell(f"ip route replace default via {four}; ip -6 route replace default via {six}")
        return {goal for goal in goals if is_reachable(*goal)}

    return machine.spaces[name].run(look)


@own_network
def test_an_internal_network_has_the_gateway_and_nothing_else_of_the_host(tmp_path: Path) -> None:
    outside = Outside()
    server = Server(outside, 80, socket.SOCK_STREAM)
    inner = NetworkSpec(name="inner", is_internal=True, enable_ipv6=True)
    with host(tmp_path) as machine, private_service():
        machine.controller.create_network(inner)
        machine.run("web", WEB)
        machine.run("evil", network="inner")
        machine.run("free")
        for name in ("web", "evil"):
            machine.serve(name, 80)
        own = [(address, PRIVATE) for address in gateways(machine, "inner")]
        bridge = machine.controller.get("inner").bridge
        others = [
            *((address, PRIVATE) for address in (outside.HOST4, outside.HOST6)),
            *((address, PRIVATE) for address in gateways(machine, "bridge")),
            *((address, 8080) for address in (outside.HOST4, outside.HOST6)),
            *((address, 8080) for address in gateways(machine, "inner")),
            *((machine.address("web", version), 80) for version in (4, 6)),
            *((address, 80) for address in (outside.ADDRESS4, outside.ADDRESS6)),
            (f"{link_local(bridge)}%eth0", PRIVATE),
        ]
        assert reached(machine, "evil", own + others) == set(own)
        # On a network that is not internal all of it is there: the goals are real.
        goals = [*others[:6], *others[-3:-1]]
        assert reached(machine, "free", goals) == set(goals)
        # The host looks in from any of its addresses.
        assert ask(machine.address("evil"), 80, source=outside.HOST4) == outside.HOST4
        assert ask(machine.address("evil", 6), 80, source=outside.HOST6) == outside.HOST6
    server.close()
    outside.close()


@own_network
def test_an_isolated_network_has_nothing_of_the_host(tmp_path: Path) -> None:
    outside = Outside()
    options = {GATEWAY_MODE4: "isolated", GATEWAY_MODE6: "isolated"}
    inner = NetworkSpec(name="inner", is_internal=True, enable_ipv6=True, options=options)
    with host(tmp_path) as machine, private_service():
        machine.controller.create_network(inner)
        machine.run("evil", network="inner")
        machine.run("other", network="inner")
        machine.serve("other", 80)
        bridge = machine.controller.get("inner").bridge
        goals = [
            *((address, PRIVATE) for address in gateways(machine, "inner")),
            *((address, PRIVATE) for address in (outside.HOST4, outside.HOST6)),
            (f"{link_local(bridge)}%eth0", PRIVATE),
        ]
        assert reached(machine, "evil", goals) == set()
        for version in (4, 6):
            call = partial(reaches, machine.address("other", version), 80)
            assert machine.spaces["evil"].run(call)
    outside.close()


@own_network
def test_a_network_without_ipv6_has_none_at_all(tmp_path: Path) -> None:
    with host(tmp_path) as machine, private_service():
        machine.controller.create_network(NetworkSpec(name="four"))
        machine.run("evil", network="four")
        machine.run("other", network="four")
        machine.serve("other", 80)
        bridge = machine.controller.get("four").bridge
        assert link_local(bridge) == ""
        space = machine.spaces["evil"]
        assert space.run(lambda: link_local("eth0")) == ""

        usual = f"{own_link_local(mac_of(bridge))}%eth0"

        def attack() -> bool:
            for item in ("eth0", "all"):
                Path(f"/proc/sys/net/ipv6/conf/{item}/disable_ipv6").write_text("0")
            shell("ip -6 addr add fe80::9/64 dev eth0 nodad")
            return is_reachable(usual, PRIVATE)

        assert not space.run(attack)
        assert space.run(lambda: link_local("eth0")) == "fe80::9"
        assert space.run(lambda: reaches(machine.address("other"), 80))


@own_network
def test_a_loopback_port_stays_on_a_host_that_routes_its_loopback(tmp_path: Path) -> None:
    outside = Outside()
    local = PortBinding(protocol="tcp", container_port=80, host_ip="127.0.0.1", host_port=8080)
    with host(tmp_path) as machine, socket.create_server(("127.0.0.1", PRIVATE)):
        machine.run("web", local)
        machine.serve("web", 80)
        # What kube-proxy and others do.
        Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")

        def attack(port: int) -> bool:
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
            shell("ip route del local 127.0.0.0/8 dev lo table local; ip addr flush dev lo")
            shell("ip route add 127.0.0.1 via 192.0.2.1 dev wire src 192.0.2.2")
            return is_reachable("127.0.0.1", port)

        # The way is open; whom the host lets in there is its own affair, but for our ports.
        assert outside.run(lambda: attack(PRIVATE))
        assert not outside.run(lambda: attack(8080))
        assert ask("127.0.0.1", 8080) == gateways(machine, "bridge")[0]
    outside.close()
