"""The head of an HTTP/1.1 request: from bytes to a `Head`, or a `ProtocolError`.

Pure. httptools (llhttp) does the grammar; the rules that keep two parsers from reading one
request differently (RFC 9112, 6.3) are checked again here. Framing the body is not its business:
llhttp would swallow the raw bytes that follow the head of a hijacked request.
"""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import httptools

from kedge.server.limits import Limits

CHUNKED: Final = -1
_MAX_LENGTH_DIGITS: Final = 18


class ProtocolError(Exception):
    """The bytes are no request this server takes; answered with `status`, then closed."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the status beside the message."""
        super().__init__(message)
        self.status = status
        self.message = message


class Head(NamedTuple):
    """One request without its body.

    Attributes:
        path: Percent-decoded, without the query.
        query: As sent; see `parse_query`.
        headers: By lower-case name; repeated ones joined with a comma.
        body_length: Bytes that follow, or `CHUNKED`.
        keep_alive: The connection may serve another request.
        expects_continue: The client waits for ``100 Continue``.
        http_1_0: The client does not understand chunked responses.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_length: int
    keep_alive: bool
    expects_continue: bool
    http_1_0: bool


class _Collector:
    """Callbacks of httptools for one head."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def parse_head(data: bytes, limits: Limits) -> Head:
    """Return the request whose head is exactly ``data``, up to its empty line.

    Raises:
        ProtocolError: It is malformed, ambiguous about its body, or beyond the limits.
    """
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        # llhttp stops after the head of an upgrade; there is nothing else in `data`.
        pass
    except httptools.HttpParserError as error:
        raise ProtocolError(400, f"malformed request: {error}") from None
    http_version = parser.get_http_version()
    if http_version not in {"1.1", "1.0"}:
        raise ProtocolError(505, f"HTTP {http_version} is not supported: use HTTP/1.1")
    if len(collector.headers) > limits.header_count:
        raise ProtocolError(431, f"more than {limits.header_count} request headers")
    headers = _join_headers(collector.headers)
    if http_version == "1.1" and "host" not in headers:
        raise ProtocolError(400, "malformed request: missing required Host header")
    path, query = _split_target(collector.target)
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        body_length=_body_length(headers, http_version),
        keep_alive=_keeps_alive(headers, http_version),
        expects_continue=_expects_continue(headers, http_version),
        http_1_0=http_version == "1.0",
    )


def parse_query(query: str) -> dict[str, list[str]]:
    """Return the values of each parameter in order."""
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True, max_num_fields=1000):
        values.setdefault(key, []).append(value)
    return values


# Two of these cannot be joined into one without changing what the request means.
_SINGLE: Final = frozenset({"host", "content-length", "transfer-encoding", "content-type"})


def _join_headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise ProtocolError(400, f"malformed request: more than one {name} header")
        else:
            headers[name] = f"{headers[name]}, {value}"
    return headers


def _split_target(target: bytes) -> tuple[str, str]:
    raw_path, _, raw_query = target.partition(b"?")
    if not raw_path.startswith(b"/"):
        # The absolute form, which clients behind a proxy send (RFC 9112, 3.2.2).
        _, scheme, rest = raw_path.partition(b"://")
        _, slash, path = rest.partition(b"/")
        if not scheme:
            raise ProtocolError(400, "malformed request: the target is not a path")
        raw_path = slash + path or b"/"
    if b"%" in raw_path:
        raw_path = _percent_decode(raw_path)
    try:
        return raw_path.decode(), raw_query.decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError(400, "malformed request: the target is not UTF-8") from None


def _percent_decode(raw_path: bytes) -> bytes:
    decoded = unquote_to_bytes(raw_path)
    if b"\0" in decoded:
        raise ProtocolError(400, "malformed request: a NUL byte in the path")
    return decoded


def _body_length(headers: dict[str, str], http_version: str) -> int:
    encoding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if encoding is not None:
        if length is not None:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding in one request")
        if http_version == "1.0":
            raise ProtocolError(400, "Transfer-Encoding in an HTTP/1.0 request")
        if encoding.lower() != "chunked":
            raise ProtocolError(501, f"unsupported transfer encoding: {encoding[:40]!r}")
        return CHUNKED
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()) or len(length) > _MAX_LENGTH_DIGITS:
        raise ProtocolError(400, f"bad Content-Length: {length[:40]!r}")
    return int(length)


def _keeps_alive(headers: dict[str, str], http_version: str) -> bool:
    options = headers.get("connection", "").lower()
    if http_version == "1.0":
        return "keep-alive" in options
    return "close" not in options


def _expects_continue(headers: dict[str, str], http_version: str) -> bool:
    expectation = headers.get("expect")
    if expectation is None or http_version == "1.0":
        return False
    if expectation.lower() != "100-continue":
        raise ProtocolError(417, f"unknown expectation: {expectation[:40]!r}")
    return True
