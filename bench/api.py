"""The Engine API for the benchmark: one keep-alive connection, a version every engine knows."""

import http.client
import json
import socket
from typing import Final
from urllib.parse import urlencode

from bench.processes import MeasureError

# Of dockerd 20.10, the oldest engine that is compared.
_VERSION: Final = "1.41"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiClient:
    """One connection to kedged or dockerd."""

    def __init__(self, socket_path: str) -> None:
        """Connect with the first request."""
        self._connection = _UnixConnection(socket_path)

    def ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        document: object = None,
        archive: bytes | None = None,
    ) -> bytes:
        """Return the body of the answer.

        Raises:
            MeasureError: The engine is not there, refused, or reported an error in its stream.
        """
        body = archive if document is None else json.dumps(document).encode()
        kind = "application/x-tar" if document is None else "application/json"
        target = f"/v{_VERSION}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            self._connection.request(method, target, body, {"Content-Type": kind} if body else {})
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise MeasureError(f"{method} {path}: {error!r}") from None
        if response.status >= 400:
            raise MeasureError(f"{method} {path}: {data.decode(errors='replace').strip()}")
        return data

    def ask_stream(self, path: str, query: dict[str, str], *, archive: bytes | None = None) -> None:
        """POST, and read the progress to its end.

        Raises:
            MeasureError: As `ask`, or a message of the stream is an error.
        """
        for line in self.ask("POST", path, query, archive=archive).splitlines():
            message: dict[str, object] = json.loads(line) if line.strip() else {}
            if "error" in message:
                raise MeasureError(str(message["error"]))
