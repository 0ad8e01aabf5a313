"""An engine whose Docker Hub is a fake, and the fake."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.engine import Engine, running_engine

FOUND = (
    {"star_count": 7, "is_official": False, "name": "some/tool", "description": "a\ntool"},
    {"star_count": 900, "is_official": True, "name": "tool", "description": "The tool"},
)


class FakeIndex(ThreadingHTTPServer):
    """Answers ``/v1/search`` and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, str, str]] = []
        self.forget()

    def forget(self) -> None:
        self.asked.clear()
        self.body = json.dumps({"num_results": 2, "query": "tool", "results": FOUND}).encode()
        self.status = 200

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: FakeIndex  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/v1/search":
            query = parse_qs(parts.query)
            authorization = self.headers.get("Authorization", "")
            self.server.asked.append((query["q"][0], query["n"][0], authorization))
        self.send_response(self.server.status if parts.path == "/v1/search" else 200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def running_index() -> Iterator[FakeIndex]:
    server = FakeIndex()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def index(running_index: FakeIndex) -> FakeIndex:
    """The fake as it is at first."""
    running_index.forget()
    return running_index


@pytest.fixture(scope="module")
def mirrored(running_index: FakeIndex) -> Iterator[Engine]:
    """An engine for which the fake is a mirror of Docker Hub."""
    with running_engine("--registry-mirror", f"http://{running_index.host}") as engine:
        yield engine
