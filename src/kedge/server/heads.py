"""Heads of HTTP responses, with the headers that every response carries."""

from email.utils import formatdate
from typing import Final

from kedge.lib.clock import Clock
from kedge.server.response import FileResponse, Response, StreamResponse, status_line

_NANOSECONDS: Final = 1_000_000_000


class HeadWriter:
    """Writes response heads; the date line is made once a second."""

    __slots__ = ("_clock", "_common", "_identity", "_second")

    def __init__(self, identity_lines: bytes, clock: Clock) -> None:
        """Put ``identity_lines``, complete header lines, into every head."""
        self._identity = identity_lines
        self._clock = clock
        self._second = -1
        self._common = b""

    def fixed(self, response: Response, *, keep_alive: bool, http_1_0: bool) -> bytes:
        """Return the head of a response that is followed by exactly its body."""
        length = b""
        # RFC 9110, 8.6: these two must not announce a length.
        if response.status not in {204, 304}:
            length = b"Content-Length: %d\r\n" % len(response.body)
        return b"".join(
            (
                status_line(response.status),
                self._common_lines(),
                _content_type(response.content_type),
                length,
                _extra_lines(response.headers),
                _connection(keep_alive=keep_alive, http_1_0=http_1_0),
                b"\r\n",
            )
        )

    def streamed(
        self, response: StreamResponse | FileResponse, *, keep_alive: bool, http_1_0: bool
    ) -> bytes:
        """Return the head of a response that comes in pieces."""
        framing = b"" if http_1_0 else b"Transfer-Encoding: chunked\r\n"
        if response.length is not None:
            framing = b"Content-Length: %d\r\n" % response.length
        return b"".join(
            (
                status_line(response.status),
                self._common_lines(),
                _content_type(response.content_type),
                _extra_lines(response.headers),
                framing,
                _connection(keep_alive=keep_alive, http_1_0=http_1_0),
                b"\r\n",
            )
        )

    def _common_lines(self) -> bytes:
        second = self._clock.time_ns() // _NANOSECONDS
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True).encode("ascii")
            self._common = self._identity + b"Date: " + date + b"\r\n"
        return self._common


def _content_type(content_type: str) -> bytes:
    return f"Content-Type: {content_type}\r\n".encode("latin-1") if content_type else b""


def _extra_lines(headers: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")


def _connection(*, keep_alive: bool, http_1_0: bool) -> bytes:
    if not keep_alive:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if http_1_0 else b""
