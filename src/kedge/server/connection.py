"""One client connection: HTTP/1.1 on an asyncio transport, up to and including the hijack.

Requests of one connection are served strictly in order, by one task each; an idle connection has
neither task nor timer. `Phase` says whose the incoming bytes are. llhttp sees heads only: bodies
are framed here, because the raw bytes that may follow a hijacked request's head must not be
parsed as HTTP.
"""

import asyncio
import logging
import socket
from enum import Enum, auto
from typing import Final

from kedge.server.body import BodyReader
from kedge.server.client_stream import HijackedStream
from kedge.server.head import Head, ProtocolError, parse_head
from kedge.server.peer import has_hung_up, tells_hang_up
from kedge.server.request import Request
from kedge.server.response import (
    AnyResponse,
    FileResponse,
    HijackResponse,
    Response,
    StreamResponse,
    error_response,
    hijack_head,
)
from kedge.server.shared import Shared
from kedge.server.writer import ResponseWriter

# compat: docker-py reads a response's head through a buffer and then the stream past it, so
# output that arrives together with the head is lost. dockerd is slow enough not to be met by it.
_DOCKER_PY_SILENCE_S: Final = 0.02

_TLS_HANDSHAKE: Final = b"\x16"

_logger: Final = logging.getLogger(__name__)


class Phase(Enum):
    """Whose the incoming bytes are."""

    # A request's head; the connection is idle when nothing of it has come yet.
    HEAD = auto()
    # A handler runs, and the rest of its request's body is still to come.
    BODY = auto()
    # A handler runs, its body is complete: what comes is the next request, kept for later.
    ANSWER = auto()
    # The answer is out; the rest of its request's body is dropped to keep the connection.
    SKIP = auto()
    # A session's.
    HIJACKED = auto()
    # Nobody's: the client is refused, the answer is out, and it shall not meet a reset.
    LINGER = auto()


class Connection(asyncio.Protocol):
    """Serves one client until it closes."""

    __slots__ = (
        "_body", "_close_after", "_input_ended", "_linger_timer", "_loop", "_paused",
        "_pending", "_phase", "_request", "_shared", "_stream", "_task", "_timer", "_transport",
        "_want_continue", "_writer",
    )  # fmt: skip

    def __init__(self, shared: Shared) -> None:
        """Wait for a transport."""
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._phase = Phase.HEAD
        self._pending = b""
        self._request: Request | None = None
        self._body: BodyReader | None = None
        self._stream: HijackedStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer: ResponseWriter | None = None
        self._paused = False
        self._input_ended = False
        self._close_after = False
        self._want_continue = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, not even the head of one."""
        return self._task is None and self._timer is None and self._body is None

    @property
    def unread_bytes(self) -> int:
        """Number of bytes from the client that belong to no request yet."""
        return len(self._pending)

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve on ``transport``."""
        assert isinstance(transport, asyncio.Transport)
        _send_at_once(transport)
        transport.set_write_buffer_limits(high=self._shared.limits.write_buffer_bytes)
        self._transport = transport
        self._writer = ResponseWriter(transport, self._shared.heads)
        self._shared.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        match self._phase:
            case Phase.HIJACKED:
                self._feed_stream(data)
            case Phase.LINGER:
                pass
            case _:
                self._pending = self._pending + data if self._pending else data
                self._advance()

    def eof_received(self) -> bool:
        """Take the end of the client's input; return whether the connection stays open.

        The client may still want its answer, so this alone cancels nothing, unless the handler
        is one that may never end and the transport cannot tell a half-close from a close.
        """
        self._input_ended = True
        if self._task is None or has_hung_up(self._transport):
            return False
        if self._stream is not None:
            self._stream.end_input()
        elif self._body is not None and not self._body.complete:
            self._body.fail(ProtocolError(400, "unexpected EOF in the request body"))
        elif self._is_abandoned():
            return False
        self._close_after = True
        self._watch_for_hang_up()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; a handler that nobody waits for is cancelled if it may be."""
        self._shared.discard(self)
        self._stop_timer()
        self._transport = None
        self._pending = b""
        if self._stream is not None:
            self._stream.lose()
        if self._body is not None:
            self._body.fail(ProtocolError(400, "the client closed the connection"))
        if self._writer is not None:
            self._writer.lose()
        if self._task is not None and self._request is not None and self._request.cancellable:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Make output wait for the client."""
        if self._stream is not None:
            self._stream.pause()
        elif self._writer is not None:
            self._writer.pause()

    def resume_writing(self) -> None:
        """Let output go on."""
        if self._stream is not None:
            self._stream.resume()
        if self._writer is not None:
            self._writer.resume()

    # The server calls these.

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""
        self._close_after = True
        if self._task is None:
            self._close()

    def abort(self) -> None:
        """Cut the connection and cancel its handler."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # Input.

    def _advance(self) -> None:
        """Give the pending bytes to whom they belong, as far as they go."""
        try:
            if self._phase is Phase.SKIP:
                self._skip_body()
            if self._phase is Phase.HEAD:
                self._take_head()
            if self._phase is Phase.BODY:
                self._take_body()
        except ProtocolError as error:
            self._refuse(error)
            return
        if self._phase is Phase.ANSWER and len(self._pending) > self._shared.limits.buffer_bytes:
            self._pause_reading()

    def _take_head(self) -> None:
        limits = self._shared.limits
        # RFC 9112, 2.2: empty lines before a request line are to be ignored.
        if self._pending[:1] in {b"\r", b"\n"}:
            self._pending = self._pending.lstrip(b"\r\n")
        # Not after a wait for the rest: a client that tries TLS first waits for this to go on.
        if self._pending[:1] == _TLS_HANDSHAKE:
            raise ProtocolError(400, "client sent a TLS handshake to an HTTP server")
        end = self._pending.find(b"\r\n\r\n")
        if end > limits.head_bytes or (end < 0 and len(self._pending) > limits.head_bytes):
            raise ProtocolError(431, f"request head larger than {limits.head_bytes} bytes")
        if end < 0:
            if self._pending and self._timer is None:
                self._timer = self._loop.call_later(limits.head_timeout_s, self._head_late)
            return
        self._stop_timer()
        data, self._pending = self._pending[: end + 4], self._pending[end + 4 :]
        self._start(parse_head(data, limits))

    def _start(self, head: Head) -> None:
        self._body = BodyReader(head.body_length, self._before_body_read)
        self._request = Request(head, self._body, self._shared.limits)
        self._want_continue = head.expects_continue and not self._body.complete
        self._phase = Phase.ANSWER if self._body.complete else Phase.BODY
        if not head.keep_alive:
            self._close_after = True
        self._task = self._loop.create_task(self._serve(self._request))

    def _take_body(self) -> None:
        body = self._body
        assert body is not None
        if self._pending:
            # A client that sends does not wait for the interim answer any more.
            self._want_continue = False
        self._pending = body.feed(self._pending)
        if body.complete:
            self._phase = Phase.ANSWER
        elif body.buffered > self._shared.limits.buffer_bytes:
            self._pause_reading()

    def _skip_body(self) -> None:
        body = self._body
        assert body is not None
        self._pending = body.feed(self._pending)
        body.discard()
        if body.complete:
            self._body = None
            self._phase = Phase.HEAD

    def _before_body_read(self) -> None:
        if self._want_continue and self._transport is not None:
            self._want_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._resume_reading()

    def _feed_stream(self, data: bytes) -> None:
        stream = self._stream
        assert stream is not None
        stream.feed(data)
        if stream.buffered > self._shared.limits.buffer_bytes:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._paused and not self._input_ended and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # Output.

    async def _serve(self, request: Request) -> None:
        try:
            await self._respond(request, await self._shared.application(request))
        except (ConnectionError, ProtocolError):
            self._close()
        except asyncio.CancelledError:
            self._abort_transport()
            raise
        except Exception:
            _logger.exception("%s %s broke off", request.head.method, request.head.path)
            self._abort_transport()
        finally:
            self._task = None
            self._finish()

    async def _respond(self, request: Request, response: AnyResponse) -> None:
        writer = self._writer
        if writer is None:
            return
        head = request.head
        match response:
            case Response():
                await writer.send(
                    response,
                    keep_alive=self._keeps_alive(request.body),
                    http_1_0=head.http_1_0,
                    head_only=head.method == "HEAD",
                )
            case StreamResponse():
                # Without chunks, closing is the only way to say that the response has ended.
                self._close_after |= head.http_1_0 and response.length is None
                await writer.send_chunks(
                    response,
                    keep_alive=not self._close_after,
                    http_1_0=head.http_1_0,
                    head_only=head.method == "HEAD",
                )
            case FileResponse():
                await writer.send_file(
                    response,
                    keep_alive=self._keeps_alive(request.body),
                    http_1_0=head.http_1_0,
                    head_only=head.method == "HEAD",
                )
            case HijackResponse():
                await self._hijack(request, response, writer)

    async def _hijack(
        self, request: Request, response: HijackResponse, writer: ResponseWriter
    ) -> None:
        self._close_after = True
        try:
            async for _ in request.body:
                pass
            usual = hijack_head(response.content_type, upgraded=request.upgraded)
            writer.write(response.head or usual)
        except BaseException:
            response.abandon()
            raise
        transport = self._transport
        assert transport is not None
        silence_s = _DOCKER_PY_SILENCE_S if _is_docker_py(request) else 0.0
        stream = HijackedStream(transport, self._resume_reading, silence_s=silence_s)
        self._stream = stream
        self._phase = Phase.HIJACKED
        early, self._pending = self._pending, b""
        stream.feed(early)
        if writer.is_paused:
            stream.pause()
        if self._input_ended:
            stream.end_input()
        self._resume_reading()
        await response.session(stream)

    def _keeps_alive(self, body: BodyReader) -> bool:
        """Return whether the connection can serve another request after this answer."""
        # A client that waits for `100 Continue` may send its body or the next request: unknown.
        if self._want_continue or not self._is_worth_skipping(body):
            self._close_after = True
        return not self._close_after

    def _is_worth_skipping(self, body: BodyReader) -> bool:
        return 0 <= body.missing <= self._shared.limits.drain_bytes

    # The end of a request and of the connection.

    def _finish(self) -> None:
        """Go on with the next request, or close."""
        body, self._request = self._body, None
        if self._transport is None or self._transport.is_closing() or body is None:
            self._body = None
            return
        body.discard()
        if self._close_after or not self._is_worth_skipping(body):
            self._body = None
            # Bytes that come after the last request would turn a plain close into a reset.
            self._stop_timer()
            self._linger()
            return
        self._phase = Phase.SKIP if not body.complete else Phase.HEAD
        if body.complete:
            self._body = None
        self._resume_reading()
        if self._pending:
            # Not at once: a pipeline of cheap requests must not keep others from the loop.
            self._loop.call_soon(self._advance)

    def _refuse(self, error: ProtocolError) -> None:
        """Answer what is no proper request, then close; nothing after it can be understood."""
        self._pending = b""
        self._close_after = True
        if self._task is not None:
            # The handler meets the error when it reads the body, and its answer ends it all.
            self._phase = Phase.LINGER
            return
        response = error_response(error.status, error.message)
        if self._transport is not None:
            head = self._shared.heads.fixed(response, keep_alive=False, http_1_0=False)
            self._transport.write(head + response.body)
            self._linger()

    def _linger(self) -> None:
        """Close without a reset, which would take the answer from a client that still sends."""
        self._phase = Phase.LINGER
        self._pending = b""
        transport = self._transport
        if transport is None or self._input_ended or not transport.can_write_eof():
            self._close()
            return
        transport.write_eof()
        self._resume_reading()
        self._stop_timer()
        self._timer = self._loop.call_later(self._shared.limits.linger_s, self._close)

    def _head_late(self) -> None:
        self._timer = None
        self._refuse(ProtocolError(408, "the request head did not arrive in time"))

    def _is_abandoned(self) -> bool:
        request = self._request
        return request is not None and request.cancellable and not tells_hang_up(self._transport)

    def _watch_for_hang_up(self) -> None:
        if self._transport is None:
            return
        if has_hung_up(self._transport):
            self._transport.abort()
            return
        self._stop_timer()
        self._timer = self._loop.call_later(
            self._shared.limits.gone_check_s, self._watch_for_hang_up
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _abort_transport(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _send_at_once(transport: asyncio.Transport) -> None:
    """Have TCP send each write; asyncio does so itself, but not for inherited or bound listeners.

    Without it a head and its body in two writes wait for each other some 40 ms (RFC 896 and
    delayed acknowledgements).
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_docker_py(request: Request) -> bool:
    return request.head.headers.get("user-agent", "").startswith("docker-sdk-python")
