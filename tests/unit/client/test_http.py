import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.client.hosts import DEFAULT_HOST, Host, parse_host, select_host
from kedge.client.http import EngineClient, encode_query, percent_encode
from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    SystemFailureError,
    UnavailableError,
)


class ScriptedEngine:
    """Accepts one connection and says what it was told to, in pieces."""

    def __init__(self, path: Path, pieces: list[bytes]) -> None:
        self.received = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._pieces = pieces
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.received:
                self.received += connection.recv(65536)
            for piece in self._pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                self.received += data

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture
def path(session_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    found = session_directory / f"s{abs(hash(request.node.nodeid)) % 10**8}"
    yield found
    found.unlink(missing_ok=True)


def ask(path: Path, pieces: list[bytes]) -> bytes:
    engine = ScriptedEngine(path, pieces)
    client = EngineClient(Host(path=str(path)))
    try:
        return client.get("/x").read()
    finally:
        client.close()
        engine.close()


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n"
)


def test_chunks_split_at_every_byte(path: Path) -> None:
    assert ask(path, [bytes([byte]) for byte in CHUNKED]) == b"hello, world"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
)
def test_bodies(path: Path, answer: bytes) -> None:
    assert ask(path, [answer]) == b"ok"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFoundError), (409, ConflictError), (400, InvalidParameterError),
     (500, SystemFailureError)],
)  # fmt: skip
def test_refusals_have_the_engines_words(path: Path, status: int, kind: type[KedgeError]) -> None:
    body = b'{"message":"No such container: x"}'
    answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    with pytest.raises(kind) as caught:
        ask(path, [answer])
    assert str(caught.value) == "No such container: x"


def test_an_engine_that_goes_away_is_told(path: Path) -> None:
    with pytest.raises(UnavailableError, match="closed the connection"):
        ask(path, [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"])


def test_hijacking_hands_over_what_came_early(path: Path) -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nearly"
    engine = ScriptedEngine(path, [head])
    client = EngineClient(Host(path=str(path)))
    connection, pending, headers = client.hijack("/x")
    assert pending == b"early"
    assert headers["content-type"] == "application/vnd.docker.raw-stream"
    connection.close()
    engine.close()
    assert b"Upgrade: tcp" in engine.received


@given(st.text())
def test_encoded_text_is_plain(text: str) -> None:
    try:
        encoded = percent_encode(text)
    except UnicodeEncodeError:
        return
    assert encoded.isascii()
    assert not set(encoded) & set(" /?&=#\r\n")


def test_queries() -> None:
    assert encode_query({}) == ""
    assert encode_query({"a": "", "b": False, "c": True, "d": 1, "e": ["x y", "z"]}) == (
        "?c=1&d=1&e=x%20y&e=z"
    )


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("unix:///run/x.sock", Host(path="/run/x.sock")),
        ("tcp://example.com:2376", Host(name="example.com", port=2376)),
        ("tcp://example.com", Host(name="example.com", port=2375)),
        ("tcp://[::1]:2375", Host(name="::1", port=2375)),
        ("tcp://[::1]", Host(name="::1", port=2375)),
        ("tcp://", Host(name="localhost", port=2375)),
        ("tcp://:2376", Host(name="localhost", port=2376)),
        ("tcp://host:", Host(name="host", port=2375)),
        (" tcp://:7777/path ", Host(name="localhost", port=7777)),
        ("unix://", DEFAULT_HOST),
    ],
)
def test_addresses(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["x", "unix://relative", "ftp://x", "tcp://x:99999", "tcp://:x"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_host(text)


def test_who_says_where_the_engine_is() -> None:
    both = {"KEDGE_HOST": "unix:///k", "DOCKER_HOST": "unix:///d"}
    assert select_host("", {}) == DEFAULT_HOST
    assert select_host("", both) == Host(path="/k")
    assert select_host("", {"DOCKER_HOST": "unix:///d"}) == Host(path="/d")
    assert select_host("unix:///f", both) == Host(path="/f")


def test_an_older_engine_is_spoken_to_in_its_own_version(path: Path) -> None:
    refusal = (
        b"HTTP/1.1 400 Bad Request\r\nApi-Version: 1.41\r\nContent-Length: 17\r\n\r\n"
        b'{"message":"new"}'
    )
    engine = ScriptedEngine(path, [refusal, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
    client = EngineClient(Host(path=str(path)))
    assert client.post("/containers/create", None, {"a": 1}).object() == {}
    assert client.version == "1.41"
    client.close()
    engine.close()
    first, second = engine.received.split(b"POST ")[1:]
    assert first.startswith(b"/v1.51/containers/create")
    assert second == first.replace(b"/v1.51/", b"/v1.41/")


@pytest.mark.parametrize("version", ["1.51", "1.60", "", "one"])
def test_other_refusals_are_final(path: Path, version: str) -> None:
    head = f"HTTP/1.1 400 Bad Request\r\nApi-Version: {version}\r\nContent-Length: 17\r\n\r\n"
    engine = ScriptedEngine(path, [head.encode() + b'{"message":"bad"}'])
    client = EngineClient(Host(path=str(path)))
    with pytest.raises(InvalidParameterError, match="bad"):
        client.get("/x")
    client.close()
    engine.close()
    assert engine.received.count(b"GET ") == 1
