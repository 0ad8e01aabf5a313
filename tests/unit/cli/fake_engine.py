"""An engine of canned answers: it remembers what it was asked, and says what it was told to."""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from kedge.lib.jsontypes import Json


class Run(Protocol):
    """Runs the command; returns exit code, output and errors."""

    def __call__(self, *words: str) -> tuple[int | str | None, str, str]: ...


class Asked(NamedTuple):
    """One request, without the version."""

    line: str
    """Method, path and decoded query."""
    body: bytes

    @property
    def document(self) -> Json:
        found: Json = json.loads(self.body)
        return found


class Answer(NamedTuple):
    """What is said to a request."""

    document: Json = None
    status: int = 200
    raw: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answers: dict[str, Answer]
    asked: list[Asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def _handle(self) -> None:
        body = self._body()
        path = "/" + unquote(self.path).split("/", 2)[2]
        self.server.asked.append(Asked(f"{self.command} {path}", body))
        key = f"{self.command} {path.partition('?')[0]}"
        answer = self.server.answers.get(key, Answer({"message": f"no answer to {key}"}, 404))
        content = answer.raw or json.dumps(answer.document).encode()
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        empty = answer.status == 204 or self.command == "HEAD"
        self.send_header("Content-Length", "0" if empty else str(len(content)))
        self.end_headers()
        if not empty:
            self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815 - names of the library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the library
        """Say nothing."""


class FakeEngine:
    """Serves on a unix socket until closed."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix://{path}"
        self._server = _Server(str(path), _Handler)
        self._server.answers = {}
        self._server.asked = []
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def asked(self) -> list[Asked]:
        return self._server.asked

    @property
    def lines(self) -> list[str]:
        return [asked.line for asked in self.asked]

    def say(self, key: str, answer: Json = None, **more: object) -> None:
        status = more.get("status", 200 if answer is not None else 204)
        assert isinstance(status, int)
        self._server.answers[key] = Answer(answer, status)

    def answer(self, key: str, answer: Answer) -> None:
        self._server.answers[key] = answer

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
