"""Attach, logs, wait and stats: the operations that last as long as somebody listens."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from functools import partial
from typing import Final

from kedge.api import codec
from kedge.api.detachkeys import parse_detach_keys
from kedge.api.logmarks import MARKED_STREAM, parse_mark
from kedge.api.options import AttachOptions, LogOptions, WaitCondition
from kedge.api.streams import AttachedStream
from kedge.api.types.container import WaitError, WaitResponse
from kedge.api.types.stats import Stats
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import ContainerBackend
from kedge.server.failures import describe_failure
from kedge.server.pump import close_session, pump
from kedge.server.request import Request
from kedge.server.response import ClientStream, HijackResponse, StreamResponse
from kedge.server.router import Handler
from kedge.server.routers.timestamps import parse_tail, parse_timestamp
from kedge.server.websocket import WebSocketStream, accept_head

RAW_STREAM: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM: Final = "application/vnd.docker.multiplexed-stream"

_CONDITIONS_SINCE: Final = ApiVersion(1, 30)
_MULTIPLEXED_SINCE: Final = ApiVersion(1, 42)


class ContainerStreamRouter:
    """Handlers that stream."""

    def __init__(self, backend: ContainerBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ContainerAttach": self.attach,
            "ContainerAttachWebsocket": self.attach_websocket,
            "ContainerLogs": self.logs,
            "ContainerWait": self.wait,
            "ContainerStats": self.stats,
        }

    async def attach(self, request: Request) -> HijackResponse:
        """Join the client and a container's streams."""
        options = AttachOptions(
            stdin=request.flag("stdin"),
            stdout=request.flag("stdout"),
            stderr=request.flag("stderr"),
            stream=request.flag("stream"),
            logs=request.flag("logs"),
            detach_keys=parse_detach_keys(request.text("detachKeys")),
        )
        stream = await self._backend.attach(request.name, options)
        return HijackResponse(
            partial(pump, stream=stream),
            attach_content_type(request, tty=stream.tty),
            partial(close_session, stream),
        )

    async def attach_websocket(self, request: Request) -> HijackResponse:
        """Join a websocket and a container's streams, which are not multiplexed there."""
        head = accept_head(request)
        # Older clients could not choose: they got everything.
        chooses = request.version >= _MULTIPLEXED_SINCE
        options = AttachOptions(
            stdin=request.flag("stdin") or not chooses,
            stdout=request.flag("stdout") or not chooses,
            stderr=request.flag("stderr") or not chooses,
            stream=request.flag("stream"),
            logs=request.flag("logs"),
            detach_keys=parse_detach_keys(request.text("detachKeys")),
        )
        stream = await self._backend.attach(request.name, options)
        return HijackResponse(
            partial(_serve_websocket, stream=stream),
            RAW_STREAM,
            partial(close_session, stream),
            head,
        )

    async def logs(self, request: Request) -> StreamResponse:
        """Stream a container's log."""
        stdout, stderr = request.flag("stdout"), request.flag("stderr")
        if not (stdout or stderr):
            raise InvalidParameterError("must specify at least one of 'stdout' or 'stderr'")
        mark = request.text("after")
        after = parse_mark(mark) if mark else None
        marks = request.flag("marks") and request.flag("follow")
        options = LogOptions(
            stdout=stdout,
            stderr=stderr,
            follow=request.flag("follow"),
            since_ns=parse_timestamp(request.text("since")),
            until_ns=parse_timestamp(request.text("until")),
            timestamps=request.flag("timestamps"),
            details=request.flag("details"),
            tail=parse_tail(request.text("tail")),
            marks=marks,
            after=after,
            after_ns=parse_timestamp(after.stamp) if after else 0,
        )
        output = await self._backend.logs(request.name, options)
        if marks:
            return StreamResponse(output.chunks, MARKED_STREAM)
        multiplexed = not output.tty and request.version >= _MULTIPLEXED_SINCE
        return StreamResponse(output.chunks, MULTIPLEXED_STREAM if multiplexed else RAW_STREAM)

    async def wait(self, request: Request) -> StreamResponse:
        """Send the head at once, so that the client may start the container; then the outcome."""
        chosen = request.text("condition") if request.version >= _CONDITIONS_SINCE else ""
        text = chosen or WaitCondition.NOT_RUNNING
        try:
            condition = WaitCondition(text)
        except ValueError:
            raise InvalidParameterError(f'invalid condition: "{text}"') from None
        return StreamResponse(_outcome(await self._backend.wait(request.name, condition)))

    async def stats(self, request: Request) -> StreamResponse:
        """Stream a container's statistics."""
        stream = request.flag("stream", default=True)
        one_shot = request.version >= ApiVersion(1, 41) and request.flag("one-shot")
        if stream and one_shot:
            raise InvalidParameterError("cannot have stream=true and one-shot=true")
        samples = await self._backend.stats(request.name, stream=stream, one_shot=one_shot)
        return StreamResponse(_sample_lines(samples))


def attach_content_type(request: Request, *, tty: bool) -> str:
    """Return the media type of a hijacked session: multiplexed only for who asked to upgrade."""
    if not tty and request.upgraded and request.version >= _MULTIPLEXED_SINCE:
        return MULTIPLEXED_STREAM
    return RAW_STREAM


async def _serve_websocket(client: ClientStream, stream: AttachedStream) -> None:
    websocket = WebSocketStream(client, framed=not stream.tty)
    await pump(websocket, stream)
    with contextlib.suppress(ConnectionError):
        await websocket.close()


async def _outcome(exited: Awaitable[WaitResponse]) -> AsyncIterator[bytes]:
    try:
        outcome = await exited
    except Exception as error:  # noqa: BLE001
        outcome = WaitResponse(status_code=-1, error=WaitError(describe_failure(error).message))
    yield codec.encode(outcome) + b"\n"


async def _sample_lines(samples: AsyncIterator[Stats]) -> AsyncIterator[bytes]:
    async for sample in samples:
        yield codec.encode(sample) + b"\n"
