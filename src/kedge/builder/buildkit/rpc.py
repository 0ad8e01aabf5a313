"""gRPC over a connection that was taken over from HTTP/1.1: grpclib on a stream of bytes.

The engine is the server on ``/grpc`` and the client on ``/session``; both directions use the same
adapter, which looks to grpclib like a transport of asyncio's and to the API server like whoever
reads and writes a hijacked connection. Messages are those of `kedge.builder.buildkit.messages`.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final, Protocol, cast

from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from kedge.builder.buildkit import wire
from kedge.builder.buildkit.messages import STATUS
from kedge.builder.buildkit.wire import Record, Schema

_HIGH: Final = 256 * 1024
_PIECE: Final = 1024 * 1024
_WINDOW: Final = 4 * 1024 * 1024


class ByteStream(Protocol):
    """A connection as whoever hijacked it sees it."""

    async def read(self) -> bytes:
        """Return what came; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of it, waiting while the peer is slow."""
        ...


class Codec(CodecBase):
    """Messages by their schema."""

    @property
    def __content_subtype__(self) -> str:
        """The part of the content type after ``application/grpc+``."""
        return "proto"

    def encode(self, message: object, message_type: object) -> bytes:
        """Return the bytes of a dictionary."""
        return wire.encode(cast("Schema", message_type), cast("Record", message))

    def decode(self, data: bytes, message_type: object) -> Record:
        """Return the dictionary in the bytes."""
        return wire.decode(cast("Schema", message_type), data)


class Details(StatusDetailsCodecBase):
    """``grpc-status-details-bin``: what kind of failure, and where in which file."""

    def encode(self, status: object, message: str | None, details: object) -> bytes:
        """Return the bytes of a status; ``details`` are messages of type ``Any``."""
        code = cast("int", getattr(status, "value", 2))
        found = list(cast("list[Record]", details)) if isinstance(details, list) else []
        record: Record = {"code": code, "message": message or "", "details": [*found]}
        return wire.encode(STATUS, record)

    def decode(self, status: object, message: str | None, data: bytes) -> object:
        """Return the details of a status."""
        del status, message
        return wire.decode(STATUS, data).get("details")


def _config() -> Configuration:
    return Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)


class StreamTransport(asyncio.Transport):
    """Looks like a transport; what is written goes out in order, from a task of its own."""

    def __init__(self, stream: ByteStream, protocol: H2Protocol) -> None:
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._buffer = bytearray()
        self._filled = asyncio.Event()
        self._closing = False
        self._paused = False

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        """Queue ``data``."""
        self._buffer += data
        self._filled.set()
        if len(self._buffer) > _HIGH and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def is_closing(self) -> bool:
        """Tell whether nothing more goes out."""
        return self._closing

    def close(self) -> None:
        """Send what is queued, then nothing more."""
        self._closing = True
        self._filled.set()

    def abort(self) -> None:
        """Send nothing more."""
        self._buffer.clear()
        self.close()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Know nothing about the peer."""
        del name
        return default

    async def flush_forever(self) -> None:
        """Send what is queued until the transport is closed or the peer is gone."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            data, self._buffer = bytes(self._buffer), bytearray()
            if data:
                await self._stream.write(data)
            if self._paused and len(self._buffer) <= _HIGH:
                self._paused = False
                self._protocol.resume_writing()
            if self._closing and not self._buffer:
                return


async def run_protocol(stream: ByteStream, protocol: H2Protocol) -> None:
    """Speak ``protocol`` on ``stream`` until either side ends it."""
    transport = StreamTransport(stream, protocol)
    protocol.connection_made(transport)
    writer = asyncio.create_task(transport.flush_forever())
    reader = asyncio.create_task(_feed(stream, protocol))
    try:
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reader, writer):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task
        transport.abort()
        protocol.connection_lost(None)


async def _feed(stream: ByteStream, protocol: H2Protocol) -> None:
    while data := await stream.read():
        protocol.data_received(data)


class Services(Protocol):
    """Methods by path, as grpclib asks for them."""

    def __mapping__(self) -> Mapping[str, Method]:
        """Return them."""
        ...


class _Methods(dict[str, Method]):
    """Methods by path; one that is not served answers that it is not.

    grpclib refuses unknown methods itself, but without the content type that grpc-go insists on:
    its clients then report a broken server where they should go on without the method.
    """

    def get(self, path: str, default: object = None) -> Method:
        """Return the method of ``path``."""
        del default
        found = super().get(path)
        return found or Method(_refuse, Cardinality.STREAM_STREAM, Record, Record)


async def _refuse(_stream: object) -> None:
    raise GRPCError(Status.UNIMPLEMENTED, "this engine does not serve this method")


async def run_server(stream: ByteStream, services: Services) -> None:
    """Answer the calls that come in on ``stream`` until it ends."""
    server = _OpenServer(
        [services], codec=Codec(), status_details_codec=Details(), config=_config()
    )
    await run_protocol(stream, server.protocol())


class _OpenServer(Server):
    """A server for connections that are open already and methods that do not exist.

    grpclib has no way in for either.
    """

    def protocol(self) -> H2Protocol:
        """Return what speaks on one of them."""
        self._mapping = _Methods(self._mapping)
        return self._protocol_factory()


class CallStream:
    """A call whose messages are the bytes of another connection; satisfies `ByteStream`."""

    def __init__(self, call: Stream[Record, Record]) -> None:
        """Read what the caller sends, write to it."""
        self._call = call

    async def read(self) -> bytes:
        """Return what came; empty at the end."""
        while (message := await self._call.recv_message()) is not None:
            if data := wire.blob(message, "data"):
                return data
        return b""

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        for start in range(0, len(data), _PIECE):
            await self._call.send_message({"data": data[start : start + _PIECE]})


class ReversedChannel(Channel):
    """A client's channel on a connection the peer has opened."""

    def __init__(self) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            codec=Codec(), status_details_codec=Details(), config=_config()
        )
        self._line = self._protocol_factory()
        self._protocol = self._line

    async def run(self, stream: ByteStream) -> None:
        """Speak on ``stream`` until it ends."""
        await run_protocol(stream, self._line)

    async def _create_connection(self) -> H2Protocol:
        raise ConnectionError("the client has gone")


def unary_call(
    channel: Channel, path: str, request: Schema, reply: Schema
) -> UnaryUnaryMethod[Record, Record]:
    """Return a call of one message and one answer."""
    # grpclib hands the "types" to the codec, which reads schemas.
    kinds = cast("tuple[type[Record], type[Record]]", (request, reply))
    return UnaryUnaryMethod(channel, path, *kinds)


def stream_call(
    channel: Channel, path: str, request: Schema, reply: Schema
) -> StreamStreamMethod[Record, Record]:
    """Return a call of many messages in both directions."""
    kinds = cast("tuple[type[Record], type[Record]]", (request, reply))
    return StreamStreamMethod(channel, path, *kinds)
