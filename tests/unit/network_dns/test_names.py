"""Who is called what, as seen from a container."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.network.dns import wire
from kedge.network.dns.answers import try_answer
from kedge.network.dns.names import Member, NameTable, make_names, parse_reverse_name


def member(
    container: str, network: str, *names: str, address: str, internal: bool = False
) -> Member:
    return Member(
        container_id=container,
        network_id=network,
        network_name=network,
        names=make_names([container, *names]),
        addresses=tuple(ipaddress.ip_address(item) for item in address.split()),
        ports=(("tcp", 80), ("tcp", 8080)),
        is_internal=internal,
    )


@pytest.fixture
def table() -> NameTable:
    names = NameTable()
    names.add(member("Web", "shop", "www", address="10.1.0.2 fd00::2"))
    names.add(member("db1", "shop", "db", address="10.1.0.3"))
    names.add(member("db2", "shop", "db", address="10.1.0.4"))
    names.add(member("db2", "lab", address="10.2.0.4"))
    names.add(member("mouse", "lab", address="10.2.0.5"))
    names.add(member("vault", "safe", address="10.3.0.2", internal=True))
    return names


def ask(table: NameTable, asker: str, name: str, kind: int = wire.TYPE_A) -> list[bytes] | None:
    query = wire.parse_query(wire.make_question(name, kind, number=1))
    records = try_answer(table, asker, query)
    return None if records is None else [record.data for record in records]


def addresses(table: NameTable, asker: str, name: str) -> list[str] | None:
    found = ask(table, asker, name)
    return None if found is None else [str(ipaddress.ip_address(item)) for item in found]


def test_names_of_shared_networks(table: NameTable) -> None:
    assert addresses(table, "db1", "web") == ["10.1.0.2"]
    assert addresses(table, "db1", "WWW") == ["10.1.0.2"]
    assert addresses(table, "db1", "web.shop") == ["10.1.0.2"]
    assert addresses(table, "Web", "web") == ["10.1.0.2"]
    assert addresses(table, "mouse", "web") is None
    assert addresses(table, "db1", "web.lab") is None
    assert addresses(table, "stranger", "web") is None
    assert addresses(table, "db2", "mouse") == ["10.2.0.5"]


def test_a_name_of_several_gives_all_in_turn(table: NameTable) -> None:
    answers = [addresses(table, "Web", "db") for _ in range(4)]
    assert all(sorted(answer or []) == ["10.1.0.3", "10.1.0.4"] for answer in answers)
    assert answers[0] != answers[1]
    assert answers[0] == answers[2]


def test_another_kind_of_a_known_name_is_empty_not_unknown(table: NameTable) -> None:
    assert ask(table, "Web", "db1", wire.TYPE_AAAA) == []
    assert ask(table, "db1", "web", wire.TYPE_AAAA) == [ipaddress.ip_address("fd00::2").packed]
    assert ask(table, "Web", "example.com", wire.TYPE_AAAA) is None
    assert ask(table, "Web", "db1", 15) == []


def test_reverse_questions(table: NameTable) -> None:
    asked = ipaddress.ip_address("10.1.0.2").reverse_pointer
    assert ask(table, "db1", asked, wire.TYPE_PTR) == [wire.encode_name("web.shop")]
    assert ask(table, "mouse", asked, wire.TYPE_PTR) is None
    asked = ipaddress.ip_address("fd00::2").reverse_pointer
    assert ask(table, "db1", asked, wire.TYPE_PTR) == [wire.encode_name("web.shop")]
    assert ask(table, "db1", "9.9.9.9.in-addr.arpa", wire.TYPE_PTR) is None


def test_services(table: NameTable) -> None:
    srv = [wire.encode_srv(80, "web")]
    assert ask(table, "db1", "_http._tcp.web", wire.TYPE_SRV) == srv
    assert ask(table, "db1", "_80._tcp.web", wire.TYPE_SRV) == srv
    assert ask(table, "db1", "_81._tcp.web", wire.TYPE_SRV) == []
    assert ask(table, "db1", "_nonsense._tcp.web", wire.TYPE_SRV) == []
    assert ask(table, "db1", "_80._udp.web", wire.TYPE_SRV) == []
    assert ask(table, "db1", "_80._tcp.example.com", wire.TYPE_SRV) is None
    assert ask(table, "db1", "web", wire.TYPE_SRV) is None


def test_who_leaves_is_forgotten(table: NameTable) -> None:
    table.remove("db2", "shop")
    assert addresses(table, "Web", "db") == ["10.1.0.3"]
    assert addresses(table, "mouse", "db2") == ["10.2.0.4"]
    table.remove("db2")
    table.remove("db2")
    assert addresses(table, "mouse", "db2") is None
    table.remove("db1")
    assert addresses(table, "Web", "db") is None


def test_who_comes_again_has_the_new_address_only(table: NameTable) -> None:
    table.add(member("db1", "shop", "db", address="10.1.0.9"))
    assert addresses(table, "Web", "db1") == ["10.1.0.9"]
    gone = ipaddress.ip_address("10.1.0.3").reverse_pointer
    assert ask(table, "Web", gone, wire.TYPE_PTR) is None


def test_links_are_for_one_container_alone(table: NameTable) -> None:
    table.set_links("Web", {"store": "db1"})
    assert addresses(table, "Web", "store") == ["10.1.0.3"]
    assert addresses(table, "db2", "store") is None
    table.remove("Web")
    table.add(member("Web", "shop", address="10.1.0.2"))
    assert addresses(table, "Web", "store") is None


def test_only_internal_networks_lead_nowhere(table: NameTable) -> None:
    assert table.is_internal("vault")
    table.add(member("vault", "shop", address="10.1.0.7"))
    assert not table.is_internal("vault")
    assert not table.is_internal("stranger")


@given(st.ip_addresses())
def test_reverse_names(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert parse_reverse_name(address.reverse_pointer) == address


@pytest.mark.parametrize("name", ["x.in-addr.arpa", "1.2.in-addr.arpa", "1.ip6.arpa", "web"])
def test_names_that_are_not_reverse(name: str) -> None:
    assert parse_reverse_name(name) is None


def test_impossible_names_are_left_out() -> None:
    assert make_names(["Web", "web.", "a" * 64, "ä", "", "a..b"]) == ("web",)
