"""The engine's API over raw sockets: what clients send byte by byte, and what comes back."""

import json
import socket
from collections.abc import Mapping
from typing import Self

from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


class Wire:
    """One connection to an engine."""

    def __init__(self, engine: Engine) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(engine.socket))
        self.rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def send(self, method: str, path: str, headers: str = "", body: bytes = b"") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n"
        self.socket.sendall(head.encode() + body)

    def read_head(self) -> str:
        self.read_until(b"\r\n\r\n")
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head.decode()

    def read_until(self, wanted: bytes) -> bytes:
        """Read until the answer holds ``wanted``; return all that has come."""
        while wanted not in self.rest:
            data = self.socket.recv(65536)
            assert data, self.rest
            self.rest += data
        return self.rest

    def read_all(self) -> bytes:
        """Read to the end of the connection."""
        while data := self.socket.recv(65536):
            self.rest += data
        return self.rest


def ask(
    engine: Engine, method: str, path: str, body: JsonObject | None = None
) -> tuple[int, bytes]:
    """Return status and body of one request."""
    with Wire(engine) as wire:
        data = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        wire.send(method, path, f"{kind}Connection: close\r\n", data)
        head = wire.read_head()
        return int(head.split()[1]), wire.read_all()


def create(engine: Engine, command: str, wishes: JsonObject | None = None) -> str:
    """Make a container that runs a shell command; return its id."""
    body: JsonObject = {"Image": "busybox", "Cmd": ["sh", "-c", command], **(wishes or {})}
    status, answer = ask(engine, "POST", "/containers/create", body)
    assert status == 201, answer
    return str(json.loads(answer)["Id"])


def start(engine: Engine, container: str) -> None:
    """Start a container."""
    status, answer = ask(engine, "POST", f"/containers/{container}/start")
    assert status == 204, answer


def remove(engine: Engine, container: str) -> None:
    """Remove a container, running or not."""
    assert ask(engine, "DELETE", f"/containers/{container}?force=1")[0] == 204


def frames(data: bytes) -> Mapping[int, bytes]:
    """Return the payloads of a multiplexed stream by stream."""
    found: dict[int, bytes] = {}
    while data:
        length = int.from_bytes(data[4:8], "big")
        found[data[0]] = found.get(data[0], b"") + data[8 : 8 + length]
        data = data[8 + length :]
    return found
