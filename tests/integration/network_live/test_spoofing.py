"""A container with every network capability cannot pass for another one, or for the gateway."""

import json
import os
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest

from kedge.network import names
from kedge.network.model import Endpoint, NetworkSpec
from kedge.network.spoofing import own_link_local
from tests.integration.network_live import frames
from tests.integration.network_live.frames import ARP, IP4, IP6, delivered, ethernet
from tests.integration.network_live.lab import (
    TIMEOUT_S,
    Host,
    Outside,
    ask,
    host,
    own_network,
    shell,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft(8)"),
]

FLOATING4, FLOATING_MAC = "172.17.0.200", "02:aa:00:00:00:01"


def endpoint(machine: Host, name: str) -> Endpoint:
    return machine.controller.endpoints(container_id=machine.id(name))[0]


def forged(own: Endpoint, victim: Endpoint) -> dict[str, bytes]:
    """Frames that take something of the victim's or of the gateway's."""
    mac, mine4, mine6 = own.mac, str(own.ipv4 and own.ipv4.ip), str(own.ipv6 and own.ipv6.ip)
    their4, their6 = str(victim.ipv4 and victim.ipv4.ip), str(victim.ipv6 and victim.ipv6.ip)
    link_local = str(own_link_local(victim.mac))
    gateway4, gateway6 = str(own.gateway4), str(own.gateway6)
    stolen4 = frames.ipv4(their4, mine4)
    return {
        "mac": ethernet(victim.mac, IP4, frames.ipv4(mine4, their4)),
        "ipv4": ethernet(mac, IP4, stolen4),
        "ipv4 of the gateway": ethernet(mac, IP4, frames.ipv4(gateway4, their4)),
        "ipv4 below a tag": ethernet(mac, IP4, stolen4, tags=1),
        "ipv4 below two tags": ethernet(mac, IP4, stolen4, tags=2),
        "arp sender": ethernet(mac, ARP, frames.arp(mac, their4, mine4)),
        "arp for the gateway": ethernet(mac, ARP, frames.arp(mac, gateway4, their4)),
        "arp with a mac": ethernet(mac, ARP, frames.arp(victim.mac, mine4, their4)),
        "ipv6": ethernet(mac, IP6, frames.ipv6(their6, mine6)),
        "ipv6 link-local": ethernet(mac, IP6, frames.ipv6(link_local, mine6)),
        "ipv6 of the gateway": ethernet(mac, IP6, frames.ipv6(gateway6, their6)),
        "advertisement": ethernet(mac, IP6, frames.icmpv6(mine6, 136, their6)),
        "advertised gateway": ethernet(mac, IP6, frames.icmpv6(mine6, 136, gateway6)),
        "router": ethernet(mac, IP6, frames.icmpv6(str(own_link_local(mac)), 134, "::")),
        "redirect": ethernet(mac, IP6, frames.icmpv6(mine6, 137, their6)),
    }


def honest(own: Endpoint, victim: Endpoint) -> dict[str, bytes]:
    """Frames that are the container's right: its own addresses, and those that are nobody's."""
    mac, mine4, mine6 = own.mac, str(own.ipv4 and own.ipv4.ip), str(own.ipv6 and own.ipv6.ip)
    their4 = str(victim.ipv4 and victim.ipv4.ip)
    return {
        "own ipv4": ethernet(mac, IP4, frames.ipv4(mine4, their4)),
        "own ipv6": ethernet(mac, IP6, frames.ipv6(mine6, "ff02::1")),
        "own below a tag": ethernet(mac, IP4, frames.ipv4(mine4, "172.17.255.255"), tags=1),
        "own arp": ethernet(mac, ARP, frames.arp(mac, mine4, their4)),
        "own advertisement": ethernet(mac, IP6, frames.icmpv6(mine6, 136, mine6)),
        "floating ipv4": ethernet(mac, IP4, frames.ipv4(FLOATING4, their4)),
        "floating arp": ethernet(mac, ARP, frames.arp(mac, FLOATING4, their4)),
        "floating mac": ethernet(FLOATING_MAC, IP4, frames.ipv4(mine4, their4)),
    }


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def bridge_sets(machine: Host) -> dict[str, list[str]]:
    """Return what is in the sets of the engine's bridge table."""
    listing = nft("-j", "list", "table", "bridge", names.table_name(machine.data_root))
    found = (item.get("set") for item in json.loads(listing)["nftables"])
    return {item["name"]: sorted(map(str, item.get("elem", []))) for item in found if item}


@own_network
def test_only_honest_frames_reach_a_neighbour(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("evil")
        machine.run("victim")
        machine.run("other")
        evil, victim = endpoint(machine, "evil"), endpoint(machine, "victim")
        good = honest(evil, victim)
        sent = {**forged(evil, victim), **good}
        spaces = machine.spaces["evil"], machine.spaces["other"]
        assert delivered(*spaces, sent) == set(good)
        # Another engine on the same records, and somebody's flush, change nothing about it.
        machine.crash()
        machine.controller.restore([machine.id(name) for name in ("evil", "victim", "other")])
        assert delivered(*spaces, sent) == set(good)


@own_network
def test_what_is_the_containers_own_passes_by_the_first_rules(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("a")
        machine.run("b")
        own = endpoint(machine, "a")
        # Who gets to the last rule was not let through by the first ones.
        table = names.table_name(machine.data_root)
        nft("add", "counter", "bridge", table, "slow")
        nft(*f"add rule bridge {table} prerouting meta l4proto 253 counter name slow".split())
        own4, own6 = str(own.ipv4 and own.ipv4.ip), str(own.ipv6 and own.ipv6.ip)
        sent = {
            "own ipv4": ethernet(own.mac, IP4, frames.ipv4(own4, "172.17.255.255")),
            "own ipv6": ethernet(own.mac, IP6, frames.ipv6(own6, "ff02::1")),
            "floating ipv4": ethernet(own.mac, IP4, frames.ipv4(FLOATING4, "172.17.255.255")),
        }
        spaces = machine.spaces["a"], machine.spaces["b"]
        assert delivered(*spaces, sent) == set(sent)
        assert "packets 1 " in nft("list", "counter", "bridge", table, "slow")


@own_network
def test_an_address_added_inside_gets_nobody_elses_traffic(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("evil")
        machine.run("victim")
        machine.run("client")
        machine.serve("evil", 80)
        machine.serve("victim", 81)
        address = machine.address("victim")
        evil, client = endpoint(machine, "evil"), machine.address("client")
        machine.spaces["evil"].run(lambda: shell(f"ip addr add {address}/16 dev eth0"))
        claim = {"claim": ethernet(evil.mac, ARP, frames.arp(evil.mac, address, client))}
        assert delivered(machine.spaces["evil"], machine.spaces["client"], claim) == set()
        assert machine.spaces["client"].run(lambda: ask(address, 81)) == client
        assert ask(address, 81) == str(endpoint(machine, "victim").gateway4)


@own_network
def test_addresses_are_free_again_with_their_links(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("evil")
        before = bridge_sets(machine)
        machine.run("victim")
        assert endpoint(machine, "victim").mac in bridge_sets(machine)["macs"]
        machine.controller.remove_endpoint(machine.id("victim"))
        machine.controller.drain()
        assert bridge_sets(machine) == before


@own_network
def test_a_network_that_is_gone_reserves_nothing(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("a")
        before = bridge_sets(machine)
        machine.controller.create_network(NetworkSpec(name="other", enable_ipv6=True))
        machine.run("b", network="other")
        assert bridge_sets(machine) != before
        machine.controller.remove_endpoint(machine.id("b"))
        machine.controller.remove_network("other")
        machine.controller.drain()
        assert bridge_sets(machine) == before


@own_network
def test_nobody_behind_a_bridge_is_the_host(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        machine.run("evil")
        gateway = str(endpoint(machine, "evil").gateway6)

        def speak(source: str) -> None:
            shell(f"ip addr add {source}/128 dev eth0 nodad")
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as wire:
                wire.bind((source, 0))
                wire.sendto(b"?", (gateway, 9))

        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
            server.bind((gateway, 9))
            server.settimeout(TIMEOUT_S)
            machine.spaces["evil"].run(lambda: speak(machine.address("evil", 6)))
            server.recvfrom(10)
            # The neighbour is known now; frames of one sender keep their order.
            for source in (outside.HOST6, "2001:db8:1::9"):
                machine.spaces["evil"].run(partial(speak, source))
            assert server.recvfrom(10)[1][0] == "2001:db8:1::9"
    outside.close()
