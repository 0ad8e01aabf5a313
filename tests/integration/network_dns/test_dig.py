"""The name server as ``dig`` sees it, and as musl's resolver asks."""

import ipaddress
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from kedge.network.dns import wire
from kedge.network.dns.names import Member, NameTable
from kedge.network.dns.server import NameServer
from kedge.network.dns.upstream import ResolvConf, Upstream

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig(1)"),
]

_LOCAL = "127.0.0.1"
_CROWD = 60
_PATIENCE_S = 60.0
_ID = "0123456789ab"


def _ipv6(address: str) -> str:
    """The address of the same container in the same place of another prefix."""
    return "fd00::" + address.partition(".")[2].replace(".", ":")


def member(container_id: str, address: str, *names: str) -> Member:
    return Member(
        container_id=container_id,
        network_id="n",
        network_name="shop",
        names=names,
        addresses=(ipaddress.ip_address(address), ipaddress.ip_address(_ipv6(address))),
        ports=(
            ("tcp", 80),
            ("udp", 53),
        ),
    )


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that knows a shop: one asker, three of a service, a crowd."""
    table = NameTable()
    table.add(member("asker", "10.1.0.9", "asker"))
    table.add(member(_ID, "10.1.0.2", "shop-web-1", "web", _ID))
    table.add(member("second", "10.1.0.3", "shop-web-2", "web"))
    table.add(member("third", "10.1.0.4", "shop-web-3", "web"))
    for number in range(_CROWD):
        table.add(member(f"c{number}", f"10.2.0.{number + 1}", "crowd"))
    server = NameServer(
        table,
        resolv_conf=ResolvConf("/nonexistent"),
        make_upstream=lambda: Upstream(port=1, timeout_s=1.0),
    )
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((_LOCAL, 0))
    number = int(datagrams.getsockname()[1])
    streams = socket.create_server((_LOCAL, number))
    server.add("asker", (datagrams.detach(), streams.detach()), ())
    yield number
    server.close()


def dig(port: int, *words: str) -> str:
    command = ["dig", f"@{_LOCAL}", "-p", str(port), "+tries=1", "+time=30", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def short(port: int, *words: str) -> list[str]:
    return dig(port, "+short", *words).splitlines()


def test_a_scaled_service_has_all_its_addresses_in_turn(port: int) -> None:
    answers = [tuple(short(port, "web")) for _ in range(6)]
    assert {frozenset(answer) for answer in answers} == {
        frozenset({"10.1.0.2", "10.1.0.3", "10.1.0.4"})
    }
    assert {answer[0] for answer in answers} == {"10.1.0.2", "10.1.0.3", "10.1.0.4"}
    assert set(short(port, "web", "AAAA")) == {"fd00::1:0:2", "fd00::1:0:3", "fd00::1:0:4"}


@pytest.mark.parametrize("way", ["+notcp", "+tcp", "+noedns", "+edns=0"])
def test_every_way_of_asking_gets_the_same(port: int, way: str) -> None:
    assert short(port, way, "shop-web-1") == ["10.1.0.2"]
    assert short(port, way, _ID) == ["10.1.0.2"]
    assert short(port, way, "SHOP-WEB-1.shop") == ["10.1.0.2"]
    assert short(port, way, "-x", "10.1.0.2") == ["shop-web-1.shop."]
    assert short(port, way, "-x", "fd00::1:0:3") == ["shop-web-2.shop."]
    assert short(port, way, "_http._tcp.shop-web-1", "SRV") == ["0 1 80 shop-web-1."]
    assert short(port, way, "_53._udp.shop-web-1", "SRV") == ["0 1 53 shop-web-1."]
    assert short(port, way, "_443._tcp.shop-web-1", "SRV") == []


def test_the_header_says_what_kind_of_answer_it_is(port: int) -> None:
    answer = dig(port, "shop-web-1")
    assert "status: NOERROR" in answer
    assert "EDNS: version: 0" in answer
    assert answer.count("shop-web-1.\t\t0\tIN\tA\t10.1.0.2") == 1
    assert "EDNS" not in dig(port, "+noedns", "shop-web-1")
    assert "status: NOERROR" in dig(port, "shop-web-1", "MX")


def test_what_does_not_fit_is_cut_and_whole_over_tcp(port: int) -> None:
    cut = dig(port, "+noedns", "+ignore", "crowd")
    assert " tc" in cut.partition("flags:")[2].partition(";")[0]
    assert len(short(port, "+noedns", "crowd")) == _CROWD
    assert len(short(port, "+bufsize=4096", "+ignore", "crowd")) == _CROWD


def test_two_questions_at_once_on_one_socket(port: int) -> None:
    """As musl asks: A and AAAA together, told apart by their numbers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_PATIENCE_S)
        asking.connect((_LOCAL, port))
        for kind in (wire.TYPE_A, wire.TYPE_AAAA):
            asking.send(wire.make_question("shop-web-1", kind, number=kind))
        answers: dict[int, bytes] = {}
        for _ in range(2):
            data = asking.recv(512)
            answers[int.from_bytes(data[:2], "big")] = data
    assert answers[wire.TYPE_A].endswith(socket.inet_aton("10.1.0.2"))
    assert answers[wire.TYPE_AAAA].endswith(socket.inet_pton(socket.AF_INET6, "fd00::1:0:2"))
