"""What a handler answers: a whole body, a stream of chunks, a file, or the raw connection.

Plain data; the connection writes it. Which headers every response carries is `ServerIdentity`'s.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO, Final, NamedTuple, Protocol, TypeAlias

from kedge.api import codec
from kedge.api.types.system import ErrorResponse
from kedge.api.versions import MAX_VERSION

# Exactly so, without a charset: Go clients compare the header with `==`.
JSON: Final = "application/json"
PLAIN_TEXT: Final = "text/plain; charset=utf-8"

_REASONS: Final = {int(status): status.phrase.encode() for status in HTTPStatus}


class ServerIdentity(NamedTuple):
    """What the server says of itself in headers.

    Attributes:
        version: The engine's version, shown as ``Docker/<version>``, which clients parse.
        builder_version: The build protocol clients should prefer: 1 is the classic one.
    """

    version: str
    builder_version: str = "1"
    experimental: bool = False

    def header_lines(self) -> bytes:
        """Return the header lines of every response."""
        experimental = "true" if self.experimental else "false"
        return (
            f"Api-Version: {MAX_VERSION}\r\nDocker-Experimental: {experimental}\r\n"
            f"Ostype: linux\r\nServer: Docker/{self.version} (linux)\r\n"
        ).encode("latin-1")


class ClientStream(Protocol):
    """The client's end of a hijacked connection."""

    @property
    def is_gone(self) -> bool:
        """Whether the client has gone for good."""
        ...

    async def read(self) -> bytes:
        """Return what the client sent; empty once it sends no more."""
        ...

    async def write(self, data: bytes) -> None:
        """Send ``data``; waits while the client is slow.

        Raises:
            ConnectionResetError: The client has gone.
        """
        ...

    async def wait_gone(self) -> None:
        """Return when the client has gone for good, not only stopped sending."""
        ...


def _do_nothing() -> None:
    """Leave nothing to undo."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StreamResponse:
    """An answer in pieces, each flushed as it comes; the head goes out before the first.

    When `chunks` fails, the connection is cut: that is all HTTP leaves to say.
    """

    chunks: AsyncIterator[bytes]
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    """Bytes of all pieces together, where they are known: then the answer is not chunked."""


@dataclass(frozen=True, slots=True)
class FileResponse:
    """A part of an open file, which the kernel sends; `file` is closed in any case."""

    file: BinaryIO
    offset: int
    length: int
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HijackResponse:
    """The connection itself, for `session`; closed when that returns.

    `abandon` is called in its place when the client has gone before.
    """

    session: Callable[[ClientStream], Awaitable[None]]
    content_type: str
    abandon: Callable[[], None] = _do_nothing
    head: bytes = b""
    """What to send first, where it is not the usual head of a hijacked connection."""


AnyResponse: TypeAlias = Response | StreamResponse | FileResponse | HijackResponse

NO_CONTENT: Final = Response(204)


def json_response(value: object, status: int = 200) -> Response:
    """Return ``value`` as JSON with Go's trailing line feed."""
    return Response(status, codec.encode(value) + b"\n", JSON)


def error_response(status: int, message: str) -> Response:
    """Return Docker's error body; ``304`` has none."""
    if status == HTTPStatus.NOT_MODIFIED:
        return Response(status)
    return json_response(ErrorResponse(message), status)


def status_line(status: int) -> bytes:
    """Return the first line of a response, with its line end."""
    return b"HTTP/1.1 %d %s\r\n" % (status, _REASONS.get(status, b"Status"))


def hijack_head(content_type: str, *, upgraded: bool) -> bytes:
    """Return the head that turns the connection into a raw stream, as dockerd writes it.

    No length and no chunking: what follows is the stream, whatever HTTP would make of it.
    """
    if upgraded:
        return (
            f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        ).encode("latin-1")
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode("latin-1")
