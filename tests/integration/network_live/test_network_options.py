"""What options of a bridge network do, and what a host's routes and IPv6 switch do to networks."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, ForbiddenError, InvalidParameterError
from kedge.network.ipam import parse_network
from kedge.network.model import NetworkSpec, Subnet
from kedge.network.options import (
    BRIDGE_NAME,
    HOST_BINDING,
    INHIBIT_IPV4,
    MASQUERADE,
    SOURCE4,
    SOURCE6,
    TRUSTED_LINKS,
)
from tests.integration.network_live.lab import (
    WEB,
    Outside,
    Server,
    ask,
    host,
    is_reachable,
    own_network,
    shell,
)

pytestmark = pytest.mark.integration


def subnet(text: str, ip_range: str = "") -> Subnet:
    network = parse_network(text)
    chosen = parse_network(ip_range) if ip_range else None
    return Subnet(network=network, gateway=network[1], ip_range=chosen)


def addresses_of(link: str) -> str:
    show = ("ip", "-o", "addr", "show", "dev", link)
    return subprocess.run(show, check=True, capture_output=True, text=True).stdout


@own_network
def test_a_network_that_is_not_masqueraded_shows_its_addresses(tmp_path: Path) -> None:
    outside = Outside()
    server = Server(outside, 80)
    with host(tmp_path) as machine:
        options = {MASQUERADE: "false"}
        machine.controller.create_network(
            NetworkSpec(name="plain", subnets=(subnet("10.9.0.0/24"),), options=options)
        )
        machine.run("web", WEB, network="plain")
        machine.serve("web", 80)
        outside.run(lambda: shell(f"ip route add 10.9.0.0/24 via {outside.HOST4}"))
        space, address = machine.spaces["web"], machine.address("web")
        assert space.run(lambda: ask(outside.ADDRESS4, 80)) == address
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
        assert not outside.run(lambda: is_reachable(address, 80))
    server.close()
    outside.close()


@own_network
def test_what_leaves_has_the_address_the_network_names(tmp_path: Path) -> None:
    outside = Outside()
    shell("ip addr add 192.0.2.7/24 dev eth0; ip addr add 2001:db8::7/64 dev eth0 nodad")
    servers = Server(outside, 80)
    with host(tmp_path) as machine:
        options = {SOURCE4: "192.0.2.7", SOURCE6: "2001:db8::7"}
        spec = NetworkSpec(name="named", enable_ipv6=True, options=options)
        machine.controller.create_network(spec)
        machine.run("web", network="named")
        machine.run("plain")
        space = machine.spaces["web"]
        for _ in range(2):
            assert space.run(lambda: ask(outside.ADDRESS4, 80)) == "192.0.2.7"
            assert space.run(lambda: ask(outside.ADDRESS6, 80)) == "2001:db8::7"
            seen = machine.spaces["plain"].run(lambda: ask(outside.ADDRESS4, 80))
            assert seen == outside.HOST4
            machine.crash()
            machine.controller.restore([machine.id("web"), machine.id("plain")])
    servers.close()
    outside.close()


@own_network
def test_trusted_links_reach_published_ports_by_the_containers_address(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        for name, third, options in (
            ("open", 9, {TRUSTED_LINKS: "nowhere0:eth0"}),
            ("shut", 10, {TRUSTED_LINKS: "nowhere0"}),
        ):
            machine.controller.create_network(
                NetworkSpec(name=name, subnets=(subnet(f"10.9.{third}.0/24"),), options=options)
            )
        twice = replace(WEB, host_port=8081)
        machine.run("web", WEB, twice, network="open")
        machine.run("other", replace(WEB, host_port=8082), network="shut")
        for name in ("web", "other"):
            machine.serve(name, 80)
            machine.serve(name, 81)
        outside.run(lambda: shell(f"ip route add 10.9.0.0/16 via {outside.HOST4}"))
        web, other = machine.address("web"), machine.address("other")
        for _ in range(2):
            assert outside.run(lambda: ask(web, 80)) == outside.ADDRESS4
            assert not outside.run(lambda: is_reachable(web, 81))
            assert not outside.run(lambda: is_reachable(other, 80))
            machine.crash()
            machine.controller.restore([machine.id("web"), machine.id("other")])
        machine.controller.remove_endpoint(machine.id("web"))
        machine.controller.drain()
    outside.close()


@own_network
def test_ports_without_an_address_go_where_the_network_says(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        options = {HOST_BINDING: "127.0.0.1"}
        machine.controller.create_network(NetworkSpec(name="local", options=options))
        machine.run("web", WEB, network="local")
        machine.serve("web", 80)
        (port,) = machine.controller.ports(machine.id("web"))
        assert port.host_ip == "127.0.0.1"
        assert ask("127.0.0.1", 8080)
        assert not outside.run(lambda: is_reachable(outside.HOST4, 8080))
    outside.close()


@own_network
def test_a_bridge_may_have_a_name_and_no_address(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        options = {BRIDGE_NAME: "shop0", INHIBIT_IPV4: "true"}
        spec = NetworkSpec(
            name="shop", subnets=(subnet("10.9.0.0/24", "10.9.0.128/25"),), options=options
        )
        machine.controller.create_network(spec)
        for name in ("one", "two"):
            machine.run(name, network="shop")
        assert "inet " not in addresses_of("shop0")
        machine.serve("two", 80)
        address = machine.address("two")
        assert address in {"10.9.0.128", "10.9.0.129", "10.9.0.130"}
        space = machine.spaces["one"]
        assert space.run(lambda: ask(address, 80)) == machine.address("one")


@own_network
def test_an_exhausted_network_says_so_and_an_address_comes_back(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        spec = NetworkSpec(name="tiny", subnets=(subnet("10.9.0.0/30"),))
        machine.controller.create_network(spec)
        machine.run("only", network="tiny")
        with pytest.raises(ConflictError, match="tiny"):
            machine.run("more", network="tiny")
        machine.controller.remove_endpoint(machine.id("only"))
        machine.run("next", network="tiny")
        assert machine.address("next") == "10.9.0.2"


@own_network
def test_the_hosts_routes_are_kept_clear_and_named(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        shell("ip route add 10.9.0.0/16 dev eth0")
        with pytest.raises(ForbiddenError, match=r"10\.9\.8\.0/24 overlaps the host's route to 10"):
            machine.controller.create_network(
                NetworkSpec(name="mine", subnets=(subnet("10.9.8.0/24"),))
            )
        chosen = [
            machine.controller.create_network(NetworkSpec(name=f"net{number}")).subnets[0].network
            for number in range(40)
        ]
        assert len(set(chosen)) == 40
        assert not any(a.overlaps(b) for a in chosen for b in chosen if a is not b)
        machine.run("last", network="net39")
        # Somebody has routes to everything private.
        for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"):
            shell(f"ip route add {network} dev eth0")
        with pytest.raises(ForbiddenError, match=r"in the way: .*172\.16\.0\.0/12"):
            machine.controller.create_network(NetworkSpec(name="none-left"))
    outside.close()


@own_network
def test_a_host_without_ipv6(tmp_path: Path) -> None:
    outside = Outside()
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
    with host(tmp_path) as machine:
        with pytest.raises(InvalidParameterError, match="it is switched off in this kernel"):
            machine.controller.create_network(NetworkSpec(name="six", enable_ipv6=True))
        machine.run("web", WEB)
        machine.serve("web", 80)
        (endpoint,) = machine.controller.endpoints(container_id=machine.id("web"))
        assert endpoint.ipv6 is None
        assert ask("127.0.0.1", 8080)
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
    outside.close()
