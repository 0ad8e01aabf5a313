"""How a network meets the outside: Docker's gateway modes, seen from another machine."""

import socket
import struct
from functools import partial
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.network.model import NetworkOptions, NetworkSpec, PortBinding
from kedge.network.options import GATEWAY_MODE4, GATEWAY_MODE6
from tests.integration.network_live.frames import sctp_init
from tests.integration.network_live.lab import (
    TIMEOUT_S,
    WEB,
    Host,
    Outside,
    Server,
    ask,
    host,
    is_reachable,
    own_network,
    shell,
)

pytestmark = pytest.mark.integration

SCTP = 132


def network(machine: Host, mode4: str, mode6: str, *, internal: bool = False) -> None:
    options = {GATEWAY_MODE4: mode4, GATEWAY_MODE6: mode6}
    machine.controller.create_network(
        NetworkSpec(name="net", enable_ipv6=True, is_internal=internal, options=options)
    )


def route_to(machine: Host, outside: Outside) -> None:
    """Let the outside send what is for the network to the host, as a router there would."""
    (endpoint, *_) = machine.controller.endpoints(network="net")
    assert endpoint.ipv4 is not None
    assert endpoint.ipv6 is not None
    four, six = endpoint.ipv4.network, endpoint.ipv6.network
    outside.run(
        lambda: shell(
            f"ip route add {four} via {outside.HOST4}; ip -6 route add {six} via {outside.HOST6}"
        )
    )


@own_network
def test_a_routed_network_opens_its_published_ports_by_its_own_addresses(tmp_path: Path) -> None:
    outside = Outside()
    server = Server(outside, 80, socket.SOCK_STREAM)
    with host(tmp_path) as machine:
        network(machine, "routed", "routed")
        machine.run("web", WEB, PortBinding(protocol="tcp", container_port=82), network="net")
        for port in (80, 81, 82):
            machine.serve("web", port)
        route_to(machine, outside)
        published = machine.controller.ports(machine.id("web"))
        assert {(item.host_ip, item.host_port) for item in published} == {("0.0.0.0", 0), ("::", 0)}
        # Nothing is open on the host, in no address family.
        for address in ("127.0.0.1", "::1", outside.HOST4):
            assert not is_reachable(address, 8080)
        for version, own in ((4, outside.ADDRESS4), (6, outside.ADDRESS6)):
            address = machine.address("web", version)
            assert outside.run(partial(ask, address, 80)) == own
            assert outside.run(partial(ask, address, 82)) == own
            assert not outside.run(partial(is_reachable, address, 81))
            # The other way its address is its own, too.
            assert machine.spaces["web"].run(partial(ask, own, 80)) == address
        # A restart of the engine keeps what is open, and no more.
        machine.crash()
        machine.controller.restore([machine.id("web")])
        address = machine.address("web")
        assert outside.run(partial(ask, address, 80)) == outside.ADDRESS4
        machine.controller.remove_endpoint(machine.id("web"))
        assert machine.controller.ports(machine.id("web")) == ()
    server.close()
    outside.close()


@own_network
def test_each_ip_version_has_a_mode_of_its_own(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        network(machine, "nat", "routed")
        machine.run("web", WEB, network="net")
        machine.serve("web", 80)
        route_to(machine, outside)
        four, six = machine.address("web"), machine.address("web", 6)
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
        assert not outside.run(lambda: is_reachable(four, 80))
        assert outside.run(lambda: ask(six, 80)) == outside.ADDRESS6
        assert not outside.run(lambda: is_reachable(outside.HOST6, 8080))
    outside.close()


@own_network
def test_an_unprotected_network_is_open_at_every_port(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        network(machine, "nat-unprotected", "nat")
        machine.run("web", WEB, network="net")
        machine.serve("web", 80)
        machine.serve("web", 81)
        route_to(machine, outside)
        assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
        assert outside.run(lambda: ask(machine.address("web"), 81)) == outside.ADDRESS4
        assert not outside.run(lambda: is_reachable(machine.address("web", 6), 81))
    outside.close()


@own_network
def test_an_isolated_network_has_no_host(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        with pytest.raises(InvalidParameterError, match="only be used for an internal network"):
            network(machine, "isolated", "isolated")
        network(machine, "isolated", "isolated", internal=True)
        machine.run("web", WEB, network="net")
        machine.run("db", network="net")
        machine.serve("web", 80)
        assert machine.controller.ports(machine.id("web")) == ()
        web, db = machine.address("web"), machine.address("db")
        assert machine.spaces["db"].run(lambda: ask(web, 80)) == db
        assert not is_reachable(web, 80)


@own_network
def test_a_routed_port_is_not_opened_wider_than_asked_for(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        network(machine, "routed", "nat")
        local = PortBinding(protocol="tcp", container_port=80, host_ip="127.0.0.1", host_port=8080)
        with pytest.raises(InvalidParameterError, match=r"on 127\.0\.0\.1: network net is routed"):
            machine.run("web", local, network="net")


@own_network
def test_sctp_goes_to_the_container_also_where_the_host_has_no_such_sockets(tmp_path: Path) -> None:
    outside = Outside()
    sctp = PortBinding(protocol="sctp", container_port=132, host_port=3868)
    with host(tmp_path) as machine:
        machine.run("web", sctp)

        def listen() -> socket.socket:
            wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
            wire.settimeout(TIMEOUT_S)
            return wire

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as wire:
                wire.sendto(sctp_init(5000, 3868), (outside.HOST4, 0))

        with machine.spaces["web"].run(listen) as wire:
            outside.run(send)
            packet, (source, _port) = wire.recvfrom(200)
        assert source == outside.ADDRESS4
        assert struct.unpack_from("!HH", packet, 20) == (5000, 132)
        with pytest.raises(KedgeError, match=r'3868 is held by container "web"'):
            machine.run("other", sctp)
        machine.controller.remove_endpoint(machine.id("web"))
        machine.run("third", PortBinding(protocol="sctp", container_port=1, host_port=3868))
        ephemeral = PortBinding(protocol="sctp", container_port=2)
        machine.run("fourth", ephemeral, ephemeral, PortBinding(protocol="sctp", container_port=3))
        ports = {item.host_port for item in machine.controller.ports(machine.id("fourth"))}
        assert len(ports) == 2
    outside.close()


@own_network
def test_sctp_needs_a_packet_filter(tmp_path: Path) -> None:
    sctp = PortBinding(protocol="sctp", container_port=132, host_port=3868)
    with (
        host(tmp_path, NetworkOptions(packet_filter=False)) as machine,
        pytest.raises(KedgeError, match="sctp ports cannot be published: this host has no"),
    ):
        machine.run("web", sctp)
