"""Two hosts with an engine each and a client outside: what is reached, by whom, and as whom."""

import contextlib
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from tests.engine import DOCKER
from tests.integration.engine_crash.truth import until
from tests.integration.engine_networks.machines import (
    EngineMachine,
    Machine,
    engine_on,
    serving,
    wired,
)
from tests.integration.network_live.frames import sctp_init
from tests.integration.network_live.lab import TIMEOUT_S, ask, is_reachable

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]
_SCTP = 132
UDP = socket.SOCK_DGRAM


class Lan:
    """The hosts ``a`` and ``b``, and the client."""

    def __init__(self, a: EngineMachine, b: EngineMachine, client: Machine) -> None:
        self.a, self.b, self.client = a, b, client

    def asked(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> str:
        """Return whom a port's server takes the client for."""
        return self.client.space.run(partial(ask, address, port, kind))

    def is_open(self, address: str, port: int) -> bool:
        return self.client.space.run(partial(is_reachable, address, port))


@pytest.fixture(scope="module")
def whole_lan() -> Iterator[Lan]:
    with (
        engine_on(1, "--ipv6") as a,
        engine_on(2, "--ipv6") as b,
        contextlib.closing(Machine(3)) as client,
        wired(a, b, client),
    ):
        # A second address, for ports that are published on one only.
        a.sh("ip addr add 192.0.2.101/24 dev eth0; ip addr add 2001:db8::65/64 dev eth0 nodad")
        yield Lan(a, b, client)


@pytest.fixture
def lan(whole_lan: Lan) -> Iterator[Lan]:
    yield whole_lan
    whole_lan.a.clear()
    whole_lan.b.clear()


def ports_of(machine: EngineMachine, name: str) -> dict[str, set[int]]:
    """Return the host's ports by container port, as ``docker port`` prints them."""
    found: dict[str, set[int]] = {}
    for line in machine.engine.docker("port", name).stdout.splitlines():
        inner, _, outer = line.partition(" -> ")
        found.setdefault(inner, set()).add(int(outer.rpartition(":")[2]))
    return found


def addresses_of(machine: EngineMachine, name: str) -> list[str]:
    """Return a container's IPv4 and IPv6 address on the default bridge."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
    return machine.engine.docker("inspect", "-f", form, name).stdout.split()


def test_every_way_to_publish_reaches_the_container_and_shows_the_client(lan: Lan) -> None:
    a, client = lan.a, lan.client
    flags: tuple[str, ...] = ("-p", "8080:80", "-p", "8100-8102:80-82", "-p", "192.0.2.101:8200:80")
    flags += ("-p", "[2001:db8::65]:8201:80", "-p", "5300:53/udp", "-p", "83")
    with serving(a.run("web", *flags), 80, 81, 82, 83, udp=[53]):
        for port in (8080, 8100, 8101, 8102):
            assert lan.asked(a.ipv4, port) == client.ipv4
            assert lan.asked(a.ipv6, port) == client.ipv6
            assert lan.asked("192.0.2.101", port) == client.ipv4
        assert lan.asked(a.ipv4, 5300, UDP) == client.ipv4
        assert lan.asked(a.ipv6, 5300, UDP) == client.ipv6
        assert lan.asked("192.0.2.101", 8200) == client.ipv4
        assert lan.asked("2001:db8::65", 8201) == client.ipv6
        # One address of the host's, and no other; nor the neighbouring ports.
        for address, port in ((a.ipv4, 8200), (a.ipv6, 8201), (a.ipv4, 8103), (a.ipv4, 8099)):
            assert not lan.is_open(address, port)
        ephemeral = ports_of(a, "web")["83/tcp"]
        (port,) = ephemeral
        assert lan.asked(a.ipv4, port) == client.ipv4
        assert lan.asked(a.ipv6, port) == client.ipv6


def test_publish_all_publishes_what_the_container_exposes_and_no_more(lan: Lan) -> None:
    a = lan.a
    with serving(a.run("web", "-P", "--expose", "80-81", "--expose", "53/udp"), 80, 84, udp=[53]):
        found = ports_of(a, "web")
        assert set(found) == {"80/tcp", "81/tcp", "53/udp"}
        (web,), (dns,) = found["80/tcp"], found["53/udp"]
        assert lan.asked(a.ipv4, web) == lan.client.ipv4
        assert lan.asked(a.ipv4, dns, UDP) == lan.client.ipv4
        every = {port for ports in found.values() for port in ports}
        assert len(every) == 3
        # Nothing of the host listens but for those: not even for the loopback is more open.
        listening = a.sh("ss -Htln | awk '{print $4}'").split()
        assert {int(item.rpartition(":")[2]) for item in listening} == every - found["53/udp"]


def test_sctp_arrives(lan: Lan) -> None:
    space = lan.a.run("web", "-p", "3868:132/sctp")

    def listen() -> socket.socket:
        wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, _SCTP)
        wire.settimeout(TIMEOUT_S)
        return wire

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, _SCTP) as wire:
            wire.sendto(sctp_init(5000, 3868), (lan.a.ipv4, 0))

    with space.run(listen) as wire:
        lan.client.space.run(send)
        packet, (source, _port) = wire.recvfrom(200)
    space.close()
    assert source == lan.client.ipv4
    assert int.from_bytes(packet[22:24], "big") == 132


def test_containers_of_two_hosts_meet_at_the_hosts_addresses(lan: Lan) -> None:
    a, b = lan.a, lan.b
    with serving(a.run("web", "-p", "8080:80"), 80), contextlib.closing(b.run("app")) as app:
        assert app.run(partial(ask, a.ipv4, 8080)) == b.ipv4
        assert app.run(partial(ask, a.ipv6, 8080)) == b.ipv6
        # Hairpin: the same from a neighbour, from another network, and from itself.
        a.engine.docker("network", "create", "--ipv6", "other")
        for name, flags in (("near", ()), ("far", ("--network", "other"))):
            with contextlib.closing(a.run(name, *flags)) as space:
                for address in (a.ipv4, a.ipv6):
                    assert space.run(partial(ask, address, 8080))
        with contextlib.closing(a.network_of("web")) as web:
            for address in (a.ipv4, a.ipv6):
                assert web.run(partial(ask, address, 8080))


def test_what_is_not_published_is_not_reached_by_who_knows_the_way(lan: Lan) -> None:
    a, client = lan.a, lan.client
    with serving(a.run("web", "-p", "127.0.0.1:8080:80", "-p", "8081:81"), 80, 81, 82):
        four, six = addresses_of(a, "web")
        client.sh(f"ip route add {four}/32 via {a.ipv4}; ip -6 route add {six}/128 via {a.ipv6}")
        client.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1")
        for port in (80, 81, 82):
            assert not lan.is_open(four, port)
            assert not lan.is_open(six, port)
        assert lan.asked(a.ipv4, 8081) == client.ipv4
        assert a.space.run(partial(ask, "127.0.0.1", 8080))
        assert not lan.is_open(a.ipv4, 8080)
        # The other host knows the way, too, and so do the containers on it.
        lan.b.sh(f"ip route add {four}/32 via {a.ipv4}")
        with contextlib.closing(lan.b.run("app")) as app:
            assert not app.run(partial(is_reachable, four, 81))
        # Whoever claims to be the host itself on the wire is not believed.
        client.sh(
            "ip route del local 127.0.0.0/8 dev lo table local; ip addr flush dev lo;"
            f"ip route add 127.0.0.1 via {a.ipv4} dev eth0 src {client.ipv4}"
        )
        a.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1")
        assert not lan.is_open("127.0.0.1", 8080)


def test_a_firewall_that_lets_nothing_in_and_one_who_flushes_it(lan: Lan) -> None:
    a, client = lan.a, lan.client
    a.sh(
        "nft add table inet ours; nft add chain inet ours in "
        "'{ type filter hook input priority 0; policy drop; }';"
        "nft add rule inet ours in iifname lo accept"
    )
    done = a.engine.docker(
        "run", "-d", "--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:80",
        "busybox", "sleep", "6000",
    )  # fmt: skip
    assert "published ports go past this host's firewall" in done.stderr
    with serving(a.network_of("web"), 80):
        assert lan.asked(a.ipv4, 8080) == client.ipv4
        assert not lan.is_open(a.ipv4, 22)
        a.sh("nft flush ruleset")
        until(lambda: "kedge-" in a.sh("nft list tables"), "the table is back")
        assert "table inet ours" not in a.sh("nft list tables")
        assert lan.asked(a.ipv4, 8080) == client.ipv4
        assert lan.asked(a.ipv6, 8080) == client.ipv6
        assert a.space.run(partial(ask, "127.0.0.1", 8081))
