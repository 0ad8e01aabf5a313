"""The engine's end of a control connection: requests as coroutines, events as calls. asyncio.

Cancelling a request forgets its answer and nothing else; the shim carries it out all the same.
"""

import asyncio
import itertools
from collections.abc import Callable
from socket import socket

from kedge.errdefs import KedgeError, UnavailableError
from kedge.lib.jsontypes import JsonObject
from kedge.shim.framing import FrameReader, FrameWriter, Message, close_all, receive
from kedge.shim.messages import decode_failure, part


class RpcConnection:
    """One stream socket to a shim, served by the running event loop."""

    def __init__(self, peer: socket, on_event: Callable[[Message], None], what: str) -> None:
        """Take over ``peer``.

        Args:
            peer: Connected stream socket.
            on_event: Gets every event, and owns its descriptors.
            what: Names the other side in errors: ``the shim of container 0123``.
        """
        self._loop = asyncio.get_running_loop()
        self._socket = peer
        self._on_event = on_event
        self._what = what
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._waits_to_write = False
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self.on_lost: Callable[[KedgeError], None] = _ignore
        """Called once, when the other side has gone or `close` was called."""
        peer.settimeout(0)
        self._loop.add_reader(peer.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        """Whether the other side is still there, as far as is known."""
        return self._socket.fileno() >= 0

    async def request(
        self, operation: str, args: JsonObject | None = None, fds: tuple[int, ...] = ()
    ) -> JsonObject:
        """Return the answer to ``operation``; ``fds`` are closed here in any case.

        Raises:
            UnavailableError: The other side is gone.
            KedgeError: It refused, with its class and its words.
        """
        answer = await self.exchange(operation, args, fds)
        close_all(answer.fds)
        return part(answer.body, "result")

    async def exchange(
        self, operation: str, args: JsonObject | None = None, fds: tuple[int, ...] = ()
    ) -> Message:
        """Do as `request`, and return the whole answer; the caller owns its descriptors."""
        if not self.is_open:
            close_all(fds)
            raise UnavailableError(f"{self._what} is gone")
        number = next(self._numbers)
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._answers[number] = answer
        try:
            self.send({"id": number, "op": operation, "args": args or {}}, fds)
            return await answer
        finally:
            self._answers.pop(number, None)

    def send(self, body: JsonObject, fds: tuple[int, ...] = ()) -> None:
        """Send ``body`` now or when the other side reads; ``fds`` are closed once sent."""
        self._writer.add(body, fds)
        self._flush()

    def close(self) -> None:
        """Hang up; requests under way fail."""
        self._lose(UnavailableError(f"{self._what}: the connection was closed"))

    def _readable(self) -> None:
        try:
            alive = receive(self._socket, self._reader)
        except BlockingIOError:
            return
        except OSError:
            alive = False
        try:
            while self.is_open and (message := self._reader.try_next()) is not None:
                self._take(message)
        except KedgeError as error:
            self._lose(error)
            return
        if not alive:
            self._lose(UnavailableError(f"{self._what} is gone"))

    def _take(self, message: Message) -> None:
        number = message.body.get("id")
        if "event" in message.body:
            self._on_event(message)
            return
        answer = self._answers.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            close_all(message.fds)
        elif "error" in message.body:
            close_all(message.fds)
            answer.set_exception(decode_failure(part(message.body, "error")))
        else:
            answer.set_result(message)

    def _flush(self) -> None:
        if not self.is_open:
            return
        try:
            done = self._writer.flush(self._socket)
        except OSError:
            # Reading sees the end too, after the last words that may still be there.
            self._writer.close()
            done = True
        if done == self._waits_to_write:
            self._waits_to_write = not done
            if done:
                self._loop.remove_writer(self._socket.fileno())
            else:
                self._loop.add_writer(self._socket.fileno(), self._flush)

    def _lose(self, error: KedgeError) -> None:
        if not self.is_open:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._reader.close()
        self._writer.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        self._answers.clear()
        self.on_lost(error)


def _ignore(_error: KedgeError) -> None:
    pass
