import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.server.head import CHUNKED, ProtocolError, parse_head, parse_query
from kedge.server.limits import DEFAULT_LIMITS


def head(*lines: str, host: bool = True) -> bytes:
    extra = ("Host: kedge",) if host else ()
    return "\r\n".join((lines[0], *extra, *lines[1:], "", "")).encode("latin-1")


def status_of(data: bytes) -> int:
    with pytest.raises(ProtocolError) as caught:
        parse_head(data, DEFAULT_LIMITS)
    return caught.value.status


def test_a_request_is_taken_apart() -> None:
    parsed = parse_head(
        head("POST /a%20b/c?x=1&y=%20 HTTP/1.1", "X-A: 1", "x-a: 2", "Content-Length: 12"),
        DEFAULT_LIMITS,
    )
    assert (parsed.method, parsed.path, parsed.query) == ("POST", "/a b/c", "x=1&y=%20")
    assert parsed.headers["x-a"] == "1, 2"
    assert parsed.body_length == 12
    assert parsed.keep_alive
    assert not parsed.http_1_0


def test_upgrade_is_only_a_header() -> None:
    parsed = parse_head(
        head("POST /x HTTP/1.1", "Connection: Upgrade", "Upgrade: tcp", "Content-Length: 2"),
        DEFAULT_LIMITS,
    )
    assert parsed.headers["upgrade"] == "tcp"
    assert parsed.body_length == 2


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET http://kedge/v1.51/info?a=b HTTP/1.1", "/v1.51/info"),
        ("GET http://kedge HTTP/1.1", "/"),
        ("GET /images/a%2Fb/json HTTP/1.1", "/images/a/b/json"),
        ("GET /images/localhost:5000/a@sha256:00/json HTTP/1.1",
         "/images/localhost:5000/a@sha256:00/json"),
    ],
)  # fmt: skip
def test_targets(line: str, path: str) -> None:
    assert parse_head(head(line), DEFAULT_LIMITS).path == path


@pytest.mark.parametrize(
    "lines",
    [
        ("POST / HTTP/1.1", "Content-Length: 2", "Transfer-Encoding: chunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 2"),
        ("POST / HTTP/1.1", "Content-Length: 2", "Content-Length: 2"),
        ("POST / HTTP/1.1", "Content-Length: 2, 2"),
        ("POST / HTTP/1.1", "Content-Length: +2"),
        ("POST / HTTP/1.1", "Content-Length: -2"),
        ("POST / HTTP/1.1", "Content-Length: 0x2"),
        ("POST / HTTP/1.1", "Content-Length: 99999999999999999999"),
        ("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding: xchunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding: chunked, identity"),
        ("POST / HTTP/1.1", "Transfer-Encoding : chunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding:\x0bchunked"),
        ("POST / HTTP/1.1", "X: a\x00b"),
        ("POST / HTTP/1.1", " folded: x"),
        ("POST / HTTP/1.1", "X: a\n b"),
        ("POST / HTTP/1.1", "Host: other"),
        ("POST / HTTP/1.0", "Transfer-Encoding: chunked"),
        ("POST /\xff HTTP/1.1",),
        ("POST /%00 HTTP/1.1",),
        ("POST /%ff HTTP/1.1",),
        ("POST kedge HTTP/1.1",),
        ("HELLO / HTTP/1.1",),
        ("GET /a b HTTP/1.1",),
        ("GET / HTTP/1.1\nX: y",),
    ],
)
def test_ambiguous_or_malformed_heads_are_refused(lines: tuple[str, ...]) -> None:
    assert status_of(head(*lines)) == 400


def test_other_refusals() -> None:
    assert status_of(head("GET / HTTP/1.1", host=False)) == 400
    assert status_of(head("GET / HTTP/2.0")) == 505
    assert status_of(head("POST / HTTP/1.1", "Expect: magic")) == 417
    assert status_of(head("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked")) == 501
    assert status_of(head("GET / HTTP/1.1", *(f"X-{n}: 1" for n in range(300)))) == 431


def test_chunked_and_keep_alive() -> None:
    parsed = parse_head(head("POST / HTTP/1.1", "Transfer-Encoding: Chunked"), DEFAULT_LIMITS)
    assert parsed.body_length == CHUNKED
    closing = parse_head(head("GET / HTTP/1.1", "Connection: close"), DEFAULT_LIMITS)
    assert not closing.keep_alive
    old = parse_head(head("GET / HTTP/1.0", host=False), DEFAULT_LIMITS)
    assert not old.keep_alive
    assert old.http_1_0
    waiting = parse_head(
        head("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 1"), DEFAULT_LIMITS
    )
    assert waiting.expects_continue


def test_query_values_keep_their_order_and_blanks() -> None:
    assert parse_query("t=a&t=b&q=&x=%2F+") == {"t": ["a", "b"], "q": [""], "x": ["/ "]}


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parsed = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n", DEFAULT_LIMITS)
        assert parsed.method == "GET"
