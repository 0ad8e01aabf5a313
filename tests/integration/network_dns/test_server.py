"""The name server on real sockets: own names, forwarding, and servers that misbehave."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from kedge.network.dns import wire
from kedge.network.dns.names import Member, NameTable
from kedge.network.dns.server import NameServer
from kedge.network.dns.upstream import ResolvConf, Upstream
from tests.integration.network_dns.resolvers import FakeResolver, addresses

pytestmark = pytest.mark.integration
_LOCAL = "127.0.0.1"
# Long enough for any machine; what waits for it is always answered by other means.
_PATIENCE_S = 60.0


def failure(message: dns.message.Message) -> bytes:
    answer = dns.message.make_response(message)
    answer.set_rcode(dns.rcode.SERVFAIL)
    return answer.to_wire()


class MakeServer(Protocol):
    """Makes a server that asks the upstream servers ``hosts`` on one port."""

    def __call__(self, port: int, *hosts: str, timeout_s: float = ...) -> NameServer: ...


class Client:
    """A container's view: the two sockets the server answers on."""

    def __init__(self, server: NameServer, *, servers: tuple[str, ...] = ()) -> None:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((_LOCAL, 0))
        self.port = int(datagrams.getsockname()[1])
        streams = socket.create_server((_LOCAL, self.port))
        server.add("web", (datagrams.detach(), streams.detach()), servers)

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        exchange = dns.query.tcp if tcp else dns.query.udp
        return exchange(query, _LOCAL, timeout=_PATIENCE_S, port=self.port)


def texts(message: dns.message.Message) -> list[str]:
    return [line.split()[-1] for rrset in message.answer for line in rrset.to_text().splitlines()]


@pytest.fixture
def names() -> NameTable:
    table = NameTable()
    for name, address in (("web", "10.1.0.2"), ("db", "10.1.0.3")):
        table.add(
            Member(
                container_id=name, network_id="n", network_name="shop", names=(name,),
                addresses=(ipaddress.ip_address(address),),
            )
        )  # fmt: skip
    return table


@pytest.fixture
def make_server(names: NameTable, tmp_path: Path) -> Iterator[MakeServer]:
    servers: list[NameServer] = []

    def make(port: int, *hosts: str, timeout_s: float = _PATIENCE_S) -> NameServer:
        path = tmp_path / "resolv.conf"
        path.write_text("".join(f"nameserver {host}\n" for host in hosts))
        server = NameServer(
            names,
            resolv_conf=ResolvConf(str(path)),
            make_upstream=lambda: Upstream(port=port, timeout_s=timeout_s),
        )
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def resolver() -> Iterator[FakeResolver]:
    found = FakeResolver(lambda message: [addresses(message, "192.0.2.7")])
    yield found
    found.close()


@pytest.mark.parametrize("tcp", [False, True])
def test_own_names_are_answered_here_and_others_elsewhere(
    make_server: MakeServer,
    resolver: FakeResolver,
    tcp: bool,  # noqa: FBT001
) -> None:
    client = Client(make_server(resolver.port, _LOCAL))
    assert texts(client.ask("db", tcp=tcp)) == ["10.1.0.3"]
    assert texts(client.ask("db", "AAAA", tcp=tcp)) == []
    assert texts(client.ask("example.com", tcp=tcp)) == ["192.0.2.7"]
    assert resolver.questions == ["example.com."]


def test_a_name_nobody_has_is_unknown(make_server: MakeServer) -> None:
    resolver = FakeResolver(lambda message: [addresses(message)])
    client = Client(make_server(resolver.port, _LOCAL))
    assert client.ask("nosuch").rcode() == dns.rcode.NXDOMAIN
    resolver.close()


def test_several_questions_on_one_connection(
    make_server: MakeServer, resolver: FakeResolver
) -> None:
    client = Client(make_server(resolver.port, _LOCAL))
    with socket.create_connection((_LOCAL, client.port), timeout=_PATIENCE_S) as peer:
        for name, address in (("db", "10.1.0.3"), ("example.com", "192.0.2.7"), ("db", "10.1.0.3")):
            dns.query.send_tcp(peer, dns.message.make_query(name, "A"))
            answer, _ = dns.query.receive_tcp(peer)
            assert texts(answer) == [address]


def test_the_next_server_is_asked_where_one_fails(
    make_server: MakeServer,
) -> None:
    resolver = FakeResolver(lambda message: [addresses(message, "192.0.2.7")])
    # Nobody listens on the first address, so the kernel says so at once.
    client = Client(make_server(resolver.port, "127.0.0.2", _LOCAL))
    assert texts(client.ask("example.com")) == ["192.0.2.7"]
    resolver.close()


def test_a_failure_is_passed_on_when_nobody_knows_better(
    make_server: MakeServer,
) -> None:
    resolver = FakeResolver(lambda message: [failure(message)])
    client = Client(make_server(resolver.port, _LOCAL))
    assert client.ask("example.com").rcode() == dns.rcode.SERVFAIL
    resolver.close()


def test_without_any_server_the_answer_is_a_failure(
    make_server: MakeServer,
) -> None:
    client = Client(make_server(1))
    assert client.ask("example.com").rcode() == dns.rcode.SERVFAIL
    assert texts(client.ask("db")) == ["10.1.0.3"]


def test_a_server_that_is_silent_is_given_up(make_server: MakeServer) -> None:
    resolver = FakeResolver(lambda _message: [])
    client = Client(make_server(resolver.port, _LOCAL, timeout_s=0.05))
    assert client.ask("example.com").rcode() == dns.rcode.SERVFAIL
    resolver.close()


def test_a_forged_answer_is_not_believed(make_server: MakeServer) -> None:
    def forge(message: dns.message.Message) -> list[bytes]:
        true = addresses(message, "192.0.2.7")
        other_id = bytes([true[0] ^ 1]) + true[1:]
        other = dns.message.make_query("evil.example", "A", id=message.id)
        return [other_id, addresses(other, "192.0.2.66"), b"\0", true]

    resolver = FakeResolver(forge)
    client = Client(make_server(resolver.port, _LOCAL))
    assert texts(client.ask("example.com")) == ["192.0.2.7"]
    resolver.close()


def test_a_cut_answer_is_asked_for_again_over_tcp(make_server: MakeServer) -> None:
    many = [f"192.0.2.{number}" for number in range(200)]

    asked: list[int] = []

    def answer(message: dns.message.Message) -> list[bytes]:
        whole = addresses(message, *many)
        asked.append(message.id)
        if len(asked) > 1:
            return [whole]
        cut = dns.message.make_response(message)
        cut.flags |= dns.flags.TC
        return [cut.to_wire()]

    resolver = FakeResolver(answer)
    client = Client(make_server(resolver.port, _LOCAL))
    query = dns.message.make_query("example.com", "A")
    found, was_stream = dns.query.udp_with_fallback(
        query, _LOCAL, timeout=_PATIENCE_S, port=client.port
    )
    assert was_stream
    assert len(texts(found)) == 200
    resolver.close()


def test_a_changed_resolv_conf_is_followed(
    make_server: MakeServer, resolver: FakeResolver, tmp_path: Path
) -> None:
    client = Client(make_server(resolver.port))
    assert client.ask("example.com").rcode() == dns.rcode.SERVFAIL
    (tmp_path / "resolv.conf").write_text(f"search x\nnameserver {_LOCAL}\nnameserver nonsense\n")
    assert texts(client.ask("example.com")) == ["192.0.2.7"]


def test_a_container_with_servers_of_its_own(
    make_server: MakeServer, resolver: FakeResolver
) -> None:
    client = Client(make_server(resolver.port, "127.0.0.2"), servers=(_LOCAL,))
    assert texts(client.ask("example.com")) == ["192.0.2.7"]


def test_garbage_is_answered_as_garbage_and_does_no_harm(
    make_server: MakeServer, resolver: FakeResolver
) -> None:
    client = Client(make_server(resolver.port, _LOCAL))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(_PATIENCE_S)
        peer.connect((_LOCAL, client.port))
        peer.send(b"x")
        peer.send(b"\x12\x34" + b"\0" * 20)
        answer = peer.recv(100)
        assert answer[:2] == b"\x12\x34"
        assert wire.answer_code(answer) == wire.FORMAT_ERROR
    assert texts(client.ask("db")) == ["10.1.0.3"]


def test_two_hundred_questions_at_once(make_server: MakeServer, resolver: FakeResolver) -> None:
    client = Client(make_server(resolver.port, _LOCAL))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(_PATIENCE_S)
        peer.connect((_LOCAL, client.port))
        for number in range(200):
            peer.send(wire.make_question("db", wire.TYPE_A, number=number))
        ids = {peer.recv(512)[:2] for _ in range(200)}
    assert len(ids) == 200
