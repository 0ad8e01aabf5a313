"""Connections of containers that are gone do not outlive them in the kernel's memory."""

import os
import socket
from pathlib import Path

import pytest

from kedge.linux.conntrack import Flows, is_one_of, list_flows
from kedge.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from kedge.network.model import PortBinding
from tests.integration.engine_crash.truth import until
from tests.integration.network_live.lab import TIMEOUT_S, Outside, host, own_network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

UDP = 17
SERVICE = PortBinding(protocol="udp", container_port=53, host_port=8053)


def known(flows: Flows) -> int:
    with NetlinkSocket(NETLINK_NETFILTER) as kernel:
        return len([m for m in kernel.query(list_flows(flows)) if is_one_of(m, flows)])


def client(outside: Outside) -> socket.socket:
    """A client that keeps its port, as a DNS forwarder or a syslog sender does."""

    def make() -> socket.socket:
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.settimeout(TIMEOUT_S)
        wire.bind((outside.ADDRESS4, 5353))
        wire.connect((outside.HOST4, 8053))
        return wire

    return outside.run(make)


@own_network
def test_a_client_that_goes_on_sending_reaches_the_next_container(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine, client(outside) as wire:
        # Before there is anybody: the host itself is who this flow is with.
        wire.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            wire.recv(100)
        machine.run("first", SERVICE)
        machine.serve("first", 53, socket.SOCK_DGRAM)
        machine.controller.drain()
        wire.send(b"?")
        assert wire.recv(100) == outside.ADDRESS4.encode()
        gone = socket.inet_aton(machine.address("first"))
        answers, asks = Flows(socket.AF_INET, gone, is_reply=True), Flows(socket.AF_INET, gone)
        assert known(answers) == 1
        assert known(asks) == 0
        machine.controller.remove_endpoint(machine.id("first"))
        machine.run("between")
        machine.run("second", SERVICE)
        machine.serve("second", 53, socket.SOCK_DGRAM)
        machine.controller.drain()
        assert known(answers) == 0
        wire.send(b"?")
        assert wire.recv(100) == outside.ADDRESS4.encode()
    outside.close()


@own_network
def test_what_a_container_asked_is_forgotten_with_it_and_nothing_else(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        for name, port in (("goes", 8080), ("stays", 8081)):
            machine.run(name, PortBinding(protocol="tcp", container_port=80, host_port=port))

            def send() -> None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                    wire.sendto(b"?", (outside.ADDRESS4, 9))

            machine.spaces[name].run(send)
        goes, stays = (
            Flows(socket.AF_INET, socket.inet_aton(machine.address(name)))
            for name in ("goes", "stays")
        )
        # The datagrams wait until the containers know their gateway's address.
        until(lambda: (known(goes), known(stays)) == (1, 1), "both have been on their way")
        assert known(Flows(socket.AF_INET, protocol=UDP, target_port=9)) == 2
        machine.controller.remove_endpoint(machine.id("goes"))
        machine.controller.drain()
        assert (known(goes), known(stays)) == (0, 1)
    outside.close()
