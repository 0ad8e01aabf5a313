"""Sessions: clients that lend a build what only they have, called over their own connection."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kedge.builder.buildkit.rpc import ByteStream, ReversedChannel, unary_call
from kedge.builder.buildkit.wire import Record, Schema
from kedge.builder.failures import BuildCancelledError
from kedge.errdefs import InvalidParameterError, NotFoundError, UnavailableError

T = TypeVar("T")

_ARRIVAL_S: Final = 10.0
_POLL_S: Final = 0.1


class Session:
    """One client's connection, for as long as it lasts."""

    def __init__(self, identity: str, *, shared_key: str = "") -> None:
        """Name it; `run` serves it.

        Args:
            identity: The id the client's builds name.
            shared_key: What contexts of this client's folder share over several builds.
        """
        self.identity = identity
        self.shared_key = shared_key
        self.channel = ReversedChannel()
        self._loop = asyncio.get_running_loop()

    async def run(self, stream: ByteStream) -> None:
        """Keep the connection until the client ends it."""
        try:
            await self.channel.run(stream)
        finally:
            self.channel.close()

    async def call(self, path: str, request: Schema, reply: Schema, message: Record) -> Record:
        """Ask the client something and return its answer.

        Raises:
            NotFoundError: It has no such thing.
            UnavailableError: It has gone, or failed.
        """
        method = unary_call(self.channel, path, request, reply)
        try:
            return await method(message)
        except GRPCError as error:
            if error.status in (Status.NOT_FOUND, Status.UNIMPLEMENTED):
                raise NotFoundError(error.message or f"the client does not serve {path}") from error
            raise UnavailableError(f"the client failed: {error.message}") from error
        except (StreamTerminatedError, ProtocolError, ConnectionError) as error:
            raise UnavailableError("the client of the build has gone") from error

    def wait(self, work: Coroutine[object, None, T], check: Callable[[], None]) -> T:
        """Run ``work`` on the loop from a build's thread, and return what it returns.

        Args:
            work: What to do.
            check: Called again and again meanwhile; raises when the build is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while True:
                try:
                    return future.result(_POLL_S)
                except TimeoutError:
                    if future.done():
                        raise
                    check()
        except BaseException:
            future.cancel()
            raise


class Sessions:
    """The clients that are connected now, by the id they gave."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self._arrived = asyncio.Condition()

    async def serve(self, session: Session, stream: ByteStream) -> None:
        """Make ``session`` known for as long as its connection lasts.

        Raises:
            InvalidParameterError: Another one has its id.
        """
        if not session.identity or session.identity in self._open:
            raise InvalidParameterError(f"session {session.identity!r} is taken or has no id")
        self._open[session.identity] = session
        async with self._arrived:
            self._arrived.notify_all()
        try:
            await session.run(stream)
        finally:
            self._open.pop(session.identity, None)

    async def find(self, identity: str) -> Session:
        """Return the session ``identity``; it may come a moment later than who names it.

        Raises:
            NotFoundError: It does not come.
        """

        async def arrive() -> Session:
            async with self._arrived:
                await self._arrived.wait_for(lambda: identity in self._open)
                return self._open[identity]

        try:
            return await asyncio.wait_for(arrive(), _ARRIVAL_S)
        except TimeoutError:
            raise NotFoundError(f"no session {identity}: its client has gone") from None


def raise_cancelled() -> None:
    """Raise what a cancelled build raises."""
    raise BuildCancelledError("build cancelled")
