"""HTTP/1.1 to the engine: keep-alive requests, streamed bodies both ways, and hijacked connections.

One connection serves a whole command, as the engine answers in order. A response must be read to
its end before the next request; a stream that is not (``logs -f``) ends with the connection.
"""

from __future__ import annotations

import _socket

from kedge.api.errors import failure_of
from kedge.client.hosts import DEFAULT_HOST, Host
from kedge.errdefs import SystemFailureError, UnavailableError
from kedge.lib import quickjson
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Final, TypeAlias

    from kedge.lib.jsontypes import Json, JsonObject


Connection: TypeAlias = _socket.socket
"""The socket type without its Python half: importing `socket` costs a tenth of a command."""

API_VERSION: Final = "1.51"
_CHUNK: Final = 65536
_SEND: Final = 1 << 18
_HEAD_MAX: Final = 1 << 20
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Query: TypeAlias = "Mapping[str, str | int | bool | Iterable[str]]"
Body: TypeAlias = "bytes | Iterable[bytes] | None"


def is_older(version: str, other: str) -> bool:
    """Whether one version of the API is older than another; False where either is none."""
    pair = [version.split("."), other.split(".")]
    if not all(len(parts) == 2 and all(map(str.isdecimal, parts)) for parts in pair):
        return False
    mine, others = ([int(part) for part in parts] for parts in pair)
    return mine < others


def percent_encode(text: str, *, keep: str = "") -> str:
    """Return ``text`` with everything but unreserved characters and ``keep`` as ``%XX``."""
    plain = _PLAIN.union(keep.encode())
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


def encode_query(query: Query) -> str:
    """Return ``?a=b&…``; empty values and False are left out, True is ``1``, a list repeats."""
    parts: list[str] = []
    for key, value in query.items():
        if isinstance(value, bool):
            if value:
                parts.append(f"{key}=1")
        elif isinstance(value, (str, int)):
            if value != "":
                parts.append(f"{key}={percent_encode(str(value))}")
        else:
            parts.extend(f"{key}={percent_encode(item)}" for item in value)
    return "?" + "&".join(parts) if parts else ""


class Response:
    """The head of an answer, and its body as far as it has been read."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Iterator[bytes]) -> None:
        """Take over the rest of the answer."""
        self.status = status
        self.headers = headers
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        return self._body

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self._body)

    def json(self) -> Json:
        """Return the body as JSON.

        Raises:
            SystemFailureError: It is none.
        """
        return _decode(self.read())

    def object(self) -> JsonObject:
        """Return the body as a JSON object."""
        document = self.json()
        return document if isinstance(document, dict) else {}

    def objects(self) -> list[JsonObject]:
        """Return the body as a list of JSON objects."""
        document = self.json()
        items = document if isinstance(document, list) else []
        return [item for item in items if isinstance(item, dict)]

    def messages(self) -> Iterator[JsonObject]:
        """Yield the JSON objects of a progress or event stream, one a line, as they arrive."""
        pending = b""
        for chunk in self._body:
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield _as_object(line)
        if pending.strip():
            yield _as_object(pending)


class EngineClient:
    """One connection to an engine, opened with the first request.

    It speaks the newest version of the API; an engine that is older refuses it once and says its
    own, which is then spoken. What sends a body in pieces cannot be asked again.
    """

    def __init__(self, host: Host = DEFAULT_HOST, version: str = API_VERSION) -> None:
        """Talk to ``host``, in ``version`` of the API to begin with."""
        self.host = host
        self.version = version
        self._socket: Connection | None = None
        self._pending = b""

    def get(self, path: str, query: Query | None = None) -> Response:
        """Ask for something; see `request`."""
        return self.request("GET", path, query)

    def post(self, path: str, query: Query | None = None, document: Json = None) -> Response:
        """Ask for a change, with a JSON body where ``document`` is given; see `request`."""
        if document is None:
            return self.request("POST", path, query)
        return self.request(
            "POST", path, query, body=quickjson.encode(document), content_type="application/json"
        )

    def delete(self, path: str, query: Query | None = None) -> Response:
        """Ask for a removal; see `request`."""
        return self.request("DELETE", path, query)

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Body = None,
        content_type: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and return the answer's head.

        Args:
            method: HTTP method.
            path: Path without the version, already encoded.
            query: Parameters.
            body: Bytes, or pieces that are sent in chunks as they come.
            content_type: Media type of the body.
            headers: More headers.

        Raises:
            UnavailableError: The engine cannot be reached.
            KedgeError: The engine refused; the class follows the status, the text is its own.
        """
        fields = {"Content-Type": content_type, **(headers or {})}
        self._send(method, path, query or {}, body, fields)
        return self._answer(method, path, query or {}, body, fields)

    def begin_post(self, path: str, query: Query | None = None) -> Callable[[], Response]:
        """Send a request and return the function that waits for its answer.

        The caller does something useful while the engine works; nothing else may be sent on this
        connection meanwhile. The function raises as `request` does.
        """
        self._send("POST", path, query or {}, None, {})
        return lambda: self._answer("POST", path, query or {}, None, {})

    def hijack(
        self, path: str, query: Query | None = None, document: Json = None
    ) -> tuple[Connection, bytes, Mapping[str, str]]:
        """POST and take the raw connection over; this client then opens another one.

        Returns:
            The connection, the bytes that already arrived after the head, and the headers.
        """
        body = None if document is None else quickjson.encode(document)
        headers = {
            "Content-Type": "application/json" if body else "",
            "Connection": "Upgrade",
            "Upgrade": "tcp",
        }
        self._send("POST", path, query or {}, body, headers)
        response = self._answer("POST", path, query or {}, body, headers)
        connection, pending = self._socket, self._pending
        self._socket, self._pending = None, b""
        if connection is None:
            raise UnavailableError(f"the engine at {self.host} closed the connection")
        return connection, pending, response.headers

    def take_connection(self) -> Connection:
        """Return a fresh connection nobody has spoken on; it belongs to the caller.

        Raises:
            UnavailableError: The engine cannot be reached.
        """
        connection = self._connect()
        self._socket = None
        return connection

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._pending = b""

    def fileno(self) -> int:
        """Return the connection's descriptor, to poll it; -1 while there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def has_buffered(self) -> bool:
        """Whether a part of an answer has arrived that nobody has read."""
        return bool(self._pending)

    def is_reachable(self) -> bool:
        """Whether somebody accepts connections at the address."""
        try:
            self._connect()
        except UnavailableError:
            return False
        return True

    def _connect(self) -> Connection:
        if self._socket is not None:
            return self._socket
        host = self.host
        try:
            if host.dial is not None:
                connection = host.dial()
            else:
                connection = _connect_unix(host.path) if host.path else _connect_tcp(host)
        except OSError as error:
            raise UnavailableError(_unreachable(host, error)) from None
        self._socket = connection
        return connection

    def _send(
        self, method: str, path: str, query: Query, body: Body, headers: Mapping[str, str]
    ) -> None:
        fields = {"Host": "kedge", "User-Agent": "kedge", **headers}
        if isinstance(body, bytes):
            fields["Content-Length"] = str(len(body))
        elif body is not None:
            fields["Transfer-Encoding"] = "chunked"
        elif method == "POST" and "Upgrade" not in fields:
            fields["Content-Length"] = "0"
        lines = [f"{method} /v{self.version}{path}{encode_query(query)} HTTP/1.1"]
        lines.extend(f"{key}: {value}" for key, value in fields.items() if value)
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        connection = self._connect()
        try:
            if isinstance(body, bytes):
                connection.sendall(head + body)
            else:
                connection.sendall(head)
                for chunk in _chunks(body) if body is not None else ():
                    connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            # The engine may refuse before it has read everything: its answer says why.
            pass

    def _answer(
        self, method: str, path: str, query: Query, body: Body, headers: Mapping[str, str]
    ) -> Response:
        """Return the answer to what was sent, which is sent again where the version was too new."""
        response = self._read_response(method)
        known = response.headers.get("api-version", "")
        if response.status == 400 and is_older(known, self.version):
            self.version = known
            if body is None or isinstance(body, bytes):
                response.read()
                self._send(method, path, query, body, headers)
                response = self._read_response(method)
        return _checked(response)

    def _read_response(self, method: str) -> Response:
        while True:
            head, _, rest = self._read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
            self._pending = rest
            first, *lines = head.decode("latin-1").split("\r\n")
            status = int(first.split(" ", 2)[1])
            if status != 100:
                break
        headers = {
            key.strip().lower(): value.strip()
            for key, _, value in (line.partition(":") for line in lines)
        }
        return Response(status, headers, self._body(method, status, headers))

    def _read_until(self, mark: bytes) -> bytes:
        data = self._pending
        while mark not in data:
            if len(data) > _HEAD_MAX:
                raise SystemFailureError(f"{self.host} does not speak HTTP: is it an engine?")
            data += self._receive()
        return data

    def _receive(self) -> bytes:
        try:
            data = b"" if self._socket is None else self._socket.recv(_CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            self.close()
            raise UnavailableError(
                f"the engine at {self.host} closed the connection: look at its log"
            )
        return data

    def _body(self, method: str, status: int, headers: Mapping[str, str]) -> Iterator[bytes]:
        if method == "HEAD" or status in {101, 204, 304}:
            return iter(())
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        if "content-length" in headers:
            return self._sized(int(headers["content-length"]))
        return self._until_close()

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            data = self._pending or self._receive()
            piece, self._pending = data[:left], data[left:]
            left -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while True:
            line, _, self._pending = self._read_until(b"\r\n").partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield from self._sized(size)
            _, _, self._pending = self._read_until(b"\r\n").partition(b"\r\n")
            if size == 0:
                return

    def _until_close(self) -> Iterator[bytes]:
        try:
            while True:
                data, self._pending = self._pending or self._receive(), b""
                yield data
        except UnavailableError:
            return


def _chunks(body: Iterable[bytes]) -> Iterator[bytes]:
    """Yield ``body`` in the chunked coding; small pieces, headers of an archive, go together."""
    held: list[bytes] = []
    size = 0
    for piece in body:
        held.append(piece)
        size += len(piece)
        if size >= _SEND:
            yield b"".join((b"%x\r\n" % size, *held, b"\r\n"))
            held.clear()
            size = 0
    last = (b"%x\r\n" % size, *held, b"\r\n") if size else ()
    yield b"".join((*last, b"0\r\n\r\n"))


def _connect_unix(path: str) -> Connection:
    connection = Connection(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _connect_tcp(host: Host) -> Connection:
    import socket  # noqa: PLC0415 - rarely needed

    return socket.create_connection((host.name, host.port))


def _unreachable(host: Host, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            f"permission denied while trying to connect to the engine at {host}: "
            "use sudo, or join the group of the socket"
        )
    return f"cannot connect to the engine at {host}: {error.strerror or error}: is kedged running?"


def _checked(response: Response) -> Response:
    if response.status >= 400 or response.status == 304:
        raise failure_of(response.status)(_message(response))
    return response


def _message(response: Response) -> str:
    data = response.read()
    try:
        document = _decode(data)
    except SystemFailureError:
        document = None
    message = document.get("message") if isinstance(document, dict) else None
    if message:
        return str(message)
    # A HEAD is answered without a text.
    return data.decode("utf-8", "replace").strip() or f"the engine refuses: {response.status}"


def _decode(data: bytes) -> Json:
    try:
        return quickjson.decode(data)
    except ValueError as error:
        raise SystemFailureError(f"the engine's answer is not JSON: {error}") from None


def _as_object(line: bytes) -> JsonObject:
    document = _decode(line)
    return document if isinstance(document, dict) else {}
