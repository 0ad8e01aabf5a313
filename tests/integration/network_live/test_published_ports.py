import os
import socket
from functools import partial
from pathlib import Path

import pytest

from kedge.network.model import NetworkOptions, NetworkSpec, PortBinding
from kedge.network.ports import PortInUseError
from tests.integration.network_live.lab import (
    WEB,
    Host,
    Outside,
    ask,
    host,
    is_reachable,
    own_network,
    reaches,
    shell,
)

pytestmark = pytest.mark.integration

DNS = PortBinding(protocol="udp", container_port=53, host_port=5353)


def gateway(machine: Host, version: int = 4) -> str:
    subnets = machine.controller.get("bridge").subnets
    return next(str(s.gateway) for s in subnets if s.network.version == version)


@own_network
def test_a_port_is_reached_from_the_host_by_every_address(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        machine.serve("web", 80)
        assert ask("127.0.0.1", 8080) == gateway(machine)
        assert ask("127.0.0.53", 8080) == gateway(machine)
        assert ask(outside.HOST4, 8080) == outside.HOST4
        assert ask(gateway(machine), 8080) == gateway(machine)
        assert ask(outside.HOST6, 8080) == outside.HOST6
        # No packet can go from ::1 to a bridge; the proxy carries it.
        assert ask("::1", 8080) == gateway(machine, 6)
    outside.close()


@own_network
def test_a_port_is_reached_from_outside_and_sees_the_client(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        machine.serve("web", 80)
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
        assert outside.run(lambda: ask(outside.HOST6, 8080)) == outside.ADDRESS6
    outside.close()


@own_network
def test_udp_ports(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("dns", DNS)
        machine.serve("dns", 53, socket.SOCK_DGRAM)
        assert ask("127.0.0.1", 5353, socket.SOCK_DGRAM) == gateway(machine)
        assert ask("::1", 5353, socket.SOCK_DGRAM) == gateway(machine, 6)
        for address, client in (
            (outside.HOST4, outside.ADDRESS4),
            (outside.HOST6, outside.ADDRESS6),
        ):
            answer = outside.run(partial(ask, address, 5353, socket.SOCK_DGRAM))
            assert answer == client
    outside.close()


@own_network
def test_a_container_reaches_itself_and_its_neighbour_through_the_host(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        machine.run("client")
        machine.serve("web", 80)
        for name in ("web", "client"):
            answer = machine.spaces[name].run(lambda: ask(outside.HOST4, 8080))
            assert answer == gateway(machine)
            answer = machine.spaces[name].run(lambda: ask(outside.HOST6, 8080))
            assert answer == gateway(machine, 6)
    outside.close()


@own_network
def test_a_port_of_another_network_keeps_the_clients_address(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.controller.create_network(NetworkSpec(name="other"))
        machine.run("web", WEB)
        machine.run("client", network="other")
        machine.serve("web", 80)
        answer = machine.spaces["client"].run(lambda: ask(outside.HOST4, 8080))
        assert answer == machine.address("client")
    outside.close()


@own_network
def test_a_loopback_port_is_for_the_host_only(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run(
            "web",
            PortBinding(protocol="tcp", container_port=80, host_ip="127.0.0.1", host_port=8080),
        )
        machine.serve("web", 80)
        assert ask("127.0.0.1", 8080) == gateway(machine)
        assert not outside.run(lambda: is_reachable(outside.HOST4, 8080))
        assert not is_reachable(outside.HOST4, 8080)
    outside.close()


@own_network
def test_a_neighbour_cannot_send_to_a_loopback_port_over_the_wire(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run(
            "web",
            PortBinding(protocol="tcp", container_port=80, host_ip="127.0.0.1", host_port=8080),
        )
        machine.serve("web", 80)

        def attack() -> bool:
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
            shell("ip route del local 127.0.0.0/8 dev lo table local; ip addr flush dev lo")
            shell("ip route add 127.0.0.1 via 192.0.2.1 dev wire src 192.0.2.2")
            return is_reachable("127.0.0.1", 8080)

        assert not outside.run(attack)
    outside.close()


@own_network
def test_only_published_ports_are_reached_by_the_containers_own_address(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        machine.serve("web", 80)
        subnet = machine.controller.get("bridge").subnets[0].network
        address = machine.address("web")
        outside.run(lambda: shell(f"ip route add {subnet} via {outside.HOST4}"))
        assert reaches(address, 80)
        assert not outside.run(lambda: is_reachable(address, 80))
    outside.close()


@own_network
def test_a_taken_port_names_the_container_that_has_it(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("shop-web-1", WEB)
        with pytest.raises(PortInUseError) as caught:
            machine.run("second", WEB)
        assert str(caught.value) == (
            "driver failed programming external connectivity on endpoint second: "
            "Bind for 0.0.0.0:8080 failed: port is already allocated; "
            'port 8080 is held by container "shop-web-1"; free: 8081'
        )
        assert (caught.value.port, caught.value.free) == (8080, 8081)


@own_network
def test_a_taken_port_names_the_process_that_has_it(tmp_path: Path) -> None:
    with host(tmp_path) as machine, socket.socket() as other:
        other.bind(("127.0.0.1", 8080))
        other.listen()
        with pytest.raises(PortInUseError) as caught:
            machine.run("web", WEB)
        command = Path("/proc/self/comm").read_text().strip()
        assert str(caught.value) == (
            "driver failed programming external connectivity on endpoint web: "
            f"failed to bind host port for 0.0.0.0:8080:{machine.address('web')}:80/tcp: "
            f"address already in use; port 8080 is held by pid {os.getpid()} ({command}); "
            "free: 8081"
        )
        # Nothing of the failed attempt holds the port.
        other.close()
        assert machine.controller.publish(machine.id("web"), [WEB])


@own_network
def test_ephemeral_ports_and_ranges(tmp_path: Path) -> None:
    with host(tmp_path) as machine, socket.socket() as other:
        other.bind(("0.0.0.0", 7000))
        other.listen()
        machine.run("web")
        machine.serve("web", 80)
        any_port = PortBinding(protocol="tcp", container_port=80)
        one_of = PortBinding(protocol="tcp", container_port=80, host_port=7000, host_port_last=7005)
        published = machine.controller.publish(machine.id("web"), [any_port, one_of])
        assert [(p.host_ip, p.host_port) for p in published[2:]] == [
            ("0.0.0.0", 7001),
            ("::", 7001),
        ]
        assert published[0].host_port == published[1].host_port > 0
        for port in {p.host_port for p in published}:
            assert ask("127.0.0.1", port) == gateway(machine)


@own_network
def test_a_removed_endpoints_ports_are_free_at_once(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        for number in range(3):
            name = f"web{number}"
            machine.run(name, WEB, DNS)
            machine.serve(name, 80)
            assert ask("127.0.0.1", 8080) == gateway(machine)
            machine.controller.remove_endpoint(machine.id(name))
            assert not is_reachable("127.0.0.1", 8080)
            assert not is_reachable("::1", 8080)


@own_network
def test_without_nftables_the_proxy_carries_everything(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path, NetworkOptions(packet_filter=False)) as machine:
        machine.run("web", WEB, DNS)
        machine.serve("web", 80)
        machine.serve("web", 53, socket.SOCK_DGRAM)
        assert ask("127.0.0.1", 8080) == gateway(machine)
        assert ask("::1", 8080) == gateway(machine, 6)
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == gateway(machine)
        assert outside.run(lambda: ask(outside.HOST6, 8080)) == gateway(machine, 6)
        assert outside.run(lambda: ask(outside.HOST4, 5353, socket.SOCK_DGRAM)) == gateway(machine)
    outside.close()


@own_network
def test_a_network_without_ipv6_is_published_on_ipv6_by_the_proxy(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path, NetworkOptions(ipv6=False)) as machine:
        machine.run("web", WEB)
        machine.serve("web", 80)
        assert outside.run(lambda: ask(outside.HOST6, 8080)) == gateway(machine)
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
    outside.close()


@own_network
def test_a_flushed_table_comes_back_with_the_next_change(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("first", WEB)
        machine.serve("first", 80)
        shell("nft flush ruleset")
        machine.run("second", DNS)
        assert ask("127.0.0.1", 8080) == gateway(machine)
        shell("nft flush ruleset")
        machine.controller.reconcile()
        assert ask("127.0.0.1", 8080) == gateway(machine)
        shell("nft flush ruleset")
        machine.controller.remove_endpoint(machine.id("second"))
        assert ask("127.0.0.1", 8080) == gateway(machine)
