"""The DNS codec, with dnspython as the judge."""

import ipaddress

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.network.dns import wire

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(".".join)


def question(name: str, kind: str = "A", *, edns: int | None = None) -> bytes:
    if edns is None:
        return dns.message.make_query(name, kind).to_wire()
    return dns.message.make_query(name, kind, use_edns=0, payload=edns).to_wire()


def a(text: str) -> wire.Record:
    return wire.Record(wire.TYPE_A, 0, ipaddress.ip_address(text).packed)


@given(NAME, st.sampled_from(["A", "AAAA", "PTR", "SRV", "MX"]), st.sampled_from([None, 512, 4096]))
def test_a_question_is_understood(name: str, kind: str, edns: int | None) -> None:
    query = wire.parse_query(question(name, kind, edns=edns))
    assert query.name == name.lower()
    assert query.type == int(dns.rdatatype.from_text(kind))
    assert query.klass == wire.CLASS_IN
    assert query.has_edns == (edns is not None)
    assert query.size == (wire.UDP_BYTES if edns in {None, 512} else wire.UDP_BYTES_MAX)


@given(NAME, st.integers(0, 65535), st.sampled_from([0, 1232]))
def test_a_question_of_ours_is_one(name: str, number: int, size: int) -> None:
    message = dns.message.from_wire(wire.make_question(name, wire.TYPE_A, number=number, size=size))
    assert message.id == number
    assert message.question[0].name == dns.name.from_text(name)
    assert message.edns == (0 if size else -1)


@given(st.binary(max_size=80))
def test_garbage_is_refused_and_never_breaks(message: bytes) -> None:
    try:
        query = wire.parse_query(message)
    except wire.MalformedError:
        failure = wire.make_failure(message, wire.FORMAT_ERROR)
        assert failure == b"" or failure[:2] == message[:2]
    else:
        assert message[wire.HEADER_BYTES :].startswith(query.question)


@given(st.data())
def test_a_question_cut_anywhere_is_refused(data: st.DataObject) -> None:
    whole = question("web.shop.example")
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(wire.MalformedError):
        wire.parse_query(whole[:cut])


@pytest.mark.parametrize("name", [b"\x03a.b\0", b"\xc0\x0c", b"\x40" + b"a" * 64 + b"\0"])
def test_names_that_are_none(name: bytes) -> None:
    head = question("x")[: wire.HEADER_BYTES]
    with pytest.raises(wire.MalformedError):
        wire.parse_query(head + name + b"\0\x01\0\x01")


def test_an_answer_is_read_by_others() -> None:
    asked = question("Web.Shop", edns=1232)
    query = wire.parse_query(asked)
    answer = dns.message.from_wire(wire.make_answer(query, [a("10.1.0.2"), a("10.1.0.3")]))
    assert dns.message.from_wire(asked).is_response(answer)
    (found,) = answer.answer
    assert str(found.name) == "Web.Shop."
    assert {line.split()[-1] for line in found.to_text().splitlines()} == {"10.1.0.2", "10.1.0.3"}
    assert answer.flags & dns.flags.AA
    assert answer.edns == 0


def test_other_kinds_of_answers_are_read_by_others() -> None:
    query = wire.parse_query(question("_http._tcp.web", "SRV"))
    data = wire.encode_srv(80, "web")
    (found,) = dns.message.from_wire(
        wire.make_answer(query, [wire.Record(wire.TYPE_SRV, 5, data)])
    ).answer
    assert found.to_text() == "_http._tcp.web. 5 IN SRV 0 1 80 web."
    query = wire.parse_query(question("2.0.1.10.in-addr.arpa", "PTR"))
    record = wire.Record(wire.TYPE_PTR, 0, wire.encode_name("web.shop"))
    (found,) = dns.message.from_wire(wire.make_answer(query, [record])).answer
    assert found.to_text() == "2.0.1.10.in-addr.arpa. 0 IN PTR web.shop."


@pytest.mark.parametrize(("limit", "has_edns"), [(512, False), (1232, True)])
def test_a_long_answer_is_cut_at_a_record(limit: int, has_edns: bool) -> None:  # noqa: FBT001
    query = wire.parse_query(question("web", edns=4096 if has_edns else None))
    records = [a(f"10.1.{n // 250}.{n % 250}") for n in range(300)]
    cut = wire.make_answer(query, records, limit=limit)
    assert limit - 16 <= len(cut) <= limit
    message = dns.message.from_wire(cut, ignore_trailing=False)
    assert message.flags & dns.flags.TC
    whole = dns.message.from_wire(wire.make_answer(query, records))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 300


def test_failures() -> None:
    query = wire.parse_query(question("web"))
    assert wire.answer_code(wire.make_answer(query, (), code=wire.NAME_ERROR)) == wire.NAME_ERROR
    # An answer is never answered.
    assert wire.make_failure(wire.make_answer(query, ()), wire.FORMAT_ERROR) == b""
    assert wire.make_failure(b"short", wire.FORMAT_ERROR) == b""


def test_only_the_answer_to_the_question_is_one() -> None:
    query = wire.parse_query(question("web.example"))
    answer = wire.make_answer(query, [a("10.0.0.1")])
    assert wire.is_answer_to(answer, query, query.id)
    assert not wire.is_answer_to(answer, query, query.id ^ 1)
    assert not wire.is_answer_to(question("web.example"), query, query.id)
    other = wire.parse_query(question("WEB.example"))
    assert not wire.is_answer_to(answer, other, query.id)
    assert not wire.is_answer_to(b"", query, query.id)


@pytest.mark.parametrize("name", ["a..b", "a" * 64, ".".join(["a" * 60] * 5)])
def test_names_that_cannot_be_encoded(name: str) -> None:
    with pytest.raises(wire.MalformedError):
        wire.encode_name(name)
