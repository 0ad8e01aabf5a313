"""The two connections of BuildKit's clients, up to where HTTP/2 begins."""

import socket

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
SETTINGS = 4


def switch(engine: Engine, method: str, path: str, headers: str) -> tuple[bytes, bytes]:
    """Return the head of the answer and what follows it once a client has begun with HTTP/2."""
    request = f"{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n{headers}\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(request.encode() + PREFACE)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < 9:
            piece = client.recv(65536)
            if not piece:
                break
            answer += piece
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head, rest


def test_calls_go_over_http2_after_the_switch(bare_engine: Engine) -> None:
    head, rest = switch(bare_engine, "POST", "/grpc", "Upgrade: h2c\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols")
    assert b"Upgrade: h2c" in head
    assert rest[3] == SETTINGS


def test_a_session_is_called_by_the_engine(bare_engine: Engine) -> None:
    head, rest = switch(
        bare_engine,
        "POST",
        "/session",
        "Upgrade: h2c\r\nX-Docker-Expose-Session-Uuid: s1\r\n",
    )
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols")
    # The engine is the one who begins here, as clients of HTTP/2 do.
    assert rest.startswith(b"PRI *")


@pytest.mark.parametrize(
    ("path", "headers", "message"),
    [
        ("/grpc", "Upgrade: tcp\r\n", b"protocol tcp is not supported here"),
        ("/session", "Upgrade: h2c\r\n", b"a session needs X-Docker-Expose-Session-Uuid"),
    ],
)
def test_a_connection_that_cannot_be_one_is_refused(
    bare_engine: Engine, path: str, headers: str, message: bytes
) -> None:
    head, body = switch(bare_engine, "POST", path, headers)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert message in body
