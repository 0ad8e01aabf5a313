"""The shim's side of its control connections: requests in, answers and events out.

The first connection is the socket the creator handed over. More come through `shim.sock`, after an
engine was restarted. All are equal; each gets every event.
"""

import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.lib.jsontypes import JsonObject
from kedge.shim.framing import FrameReader, FrameWriter, Message, close_all, receive
from kedge.shim.luggage import Luggage
from kedge.shim.messages import SOCKET_NAME, encode_failure
from kedge.shim.reactor import BROKEN, READABLE, WRITABLE, Reactor


class Reply(NamedTuple):
    """An answer that brings descriptors; they are closed once sent."""

    result: JsonObject
    fds: tuple[int, ...]


# Handed the request and its descriptors; a descriptor that the call keeps is set to -1 in the list.
Serve: TypeAlias = Callable[[JsonObject, list[int]], JsonObject | Reply]

_PEER_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 16


class Connection:
    """One engine on the line."""

    def __init__(self, reactor: Reactor, peer: socket.socket, serve: Serve) -> None:
        """Take over ``peer`` and answer its requests with ``serve``."""
        self._reactor = reactor
        self._socket = peer
        self._serve = serve
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._waits_to_write = False
        self.on_lost: Callable[[Connection], None] = _ignore
        peer.settimeout(0)
        reactor.watch(peer.fileno(), READABLE, self._ready)

    def send(self, body: JsonObject, fds: tuple[int, ...] = ()) -> None:
        """Send a message now or as soon as the peer reads; ``fds`` are closed once sent."""
        self._writer.add(body, fds)
        self._flush()

    @property
    def is_quiet(self) -> bool:
        """Whether no message is half here or half there."""
        return self._reader.is_empty and self._writer.is_empty

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        if self._socket.fileno() < 0:
            return
        self._reactor.forget(self._socket.fileno())
        self._socket.close()
        self._reader.close()
        self._writer.close()

    def _ready(self, events: int) -> None:
        try:
            if events & WRITABLE:
                self._flush()
            if events & (READABLE | BROKEN) and not self._receive():
                self._lose()
        except (OSError, KedgeError):
            self._lose()

    def _receive(self) -> bool:
        try:
            if not receive(self._socket, self._reader):
                return False
        except BlockingIOError:
            return True
        while self._socket.fileno() >= 0 and (message := self._reader.try_next()) is not None:
            self._answer(message)
        return True

    def _answer(self, message: Message) -> None:
        fds = list(message.fds)
        answer: JsonObject = {"id": message.body.get("id")}
        given: tuple[int, ...] = ()
        try:
            result = self._serve(message.body, fds)
            if isinstance(result, Reply):
                result, given = result
            answer["result"] = result
        except (KedgeError, OSError) as error:
            answer["error"] = encode_failure(error)
        finally:
            close_all(fd for fd in fds if fd >= 0)
        self.send(answer, given)

    def _flush(self) -> None:
        if self._socket.fileno() < 0:
            return
        try:
            done = self._writer.flush(self._socket)
        except OSError:
            # Reading will say that the peer is gone; that is the one place to notice it.
            self._writer.close()
            return
        if done == self._waits_to_write:
            self._waits_to_write = not done
            self._reactor.change(self._socket.fileno(), READABLE if done else READABLE | WRITABLE)

    def _lose(self) -> None:
        self.close()
        self.on_lost(self)


class ControlServer:
    """All control connections of one shim, and the socket where new ones arrive."""

    def __init__(self, reactor: Reactor, serve: Serve, greet: Callable[[], JsonObject]) -> None:
        """Serve nobody yet.

        Args:
            reactor: Where to wait.
            serve: Answers a request.
            greet: Makes the first message for a connection that arrives at the socket.
        """
        self._reactor = reactor
        self._serve = serve
        self._greet = greet
        self._connections: list[Connection] = []
        self._listener: socket.socket | None = None
        self._path = ""
        self.on_alone: Callable[[], None] = _nothing
        """Called when the last connection is gone."""

    @property
    def is_alone(self) -> bool:
        """Whether no engine is connected."""
        return not self._connections

    def try_pack(self, luggage: Luggage) -> bool:
        """Pack the socket and all connections; False while a message is on its way."""
        if self._listener is None or not all(each.is_quiet for each in self._connections):
            return False
        luggage.wait_for("listener", self._listener.fileno())
        for number, connection in enumerate(self._connections):
            luggage.wait_for(f"engine {number}", connection.fileno())
        return True

    def resume(self, run_dir: str, fds: Mapping[str, int]) -> None:
        """Go on with what was packed."""
        self._path = os.path.join(run_dir, SOCKET_NAME)
        self._accept_at(socket.socket(fileno=fds["listener"]))
        for name, fd in fds.items():
            if name.startswith("engine "):
                self.add(socket.socket(fileno=fd))

    def listen(self, run_dir: str) -> None:
        """Accept connections at ``run_dir``'s socket; a dead one's is replaced.

        The path is entered through the directory, because socket addresses end at 107 bytes.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        os.chdir(run_dir)
        try:
            listener.bind(SOCKET_NAME)
        except OSError:
            os.unlink(SOCKET_NAME)
            listener.bind(SOCKET_NAME)
        finally:
            os.chdir("/")
        self._path = os.path.join(run_dir, SOCKET_NAME)
        listener.listen(_BACKLOG)
        self._accept_at(listener)

    def _accept_at(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._reactor.watch(listener.fileno(), READABLE, lambda _events: self._accept())

    def can_be_found(self) -> bool:
        """Return whether the socket still is where an engine will look for it."""
        return self._listener is not None and os.path.exists(self._path)

    def add(self, peer: socket.socket) -> Connection:
        """Serve ``peer`` from now on."""
        connection = Connection(self._reactor, peer, self._serve)
        connection.on_lost = self._lose
        self._connections.append(connection)
        return connection

    def broadcast(self, event: JsonObject) -> None:
        """Tell everybody."""
        for connection in tuple(self._connections):
            connection.send(event)

    def stop_listening(self) -> None:
        """Take the socket away; connections stay."""
        if self._listener is None:
            return
        self._reactor.forget(self._listener.fileno())
        self._listener.close()
        self._listener = None
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return

    def close(self) -> None:
        """Hang up on everybody."""
        self.stop_listening()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        if not _is_trusted(peer):
            peer.close()
            return
        self.add(peer).send(self._greet())

    def _lose(self, connection: Connection) -> None:
        self._connections.remove(connection)
        if not self._connections:
            self.on_alone()


def fetch_request(peer: socket.socket) -> JsonObject | None:
    """Wait for the first message on a fresh connection; None when the engine went away."""
    reader = FrameReader()
    while receive(peer, reader):
        message = reader.try_next()
        if message is not None:
            close_all(message.fds)
            return message.body
    return None


def _is_trusted(peer: socket.socket) -> bool:
    """Return whether the process that connected is root's or this user's."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, uid, _ = _PEER_CREDENTIALS.unpack(credentials)
    return uid in (0, os.geteuid())


def unknown_operation(name: object) -> InvalidParameterError:
    """Return the failure for a request this version of the shim does not know."""
    return InvalidParameterError(
        f"the container's shim does not know {name!r}: it may be older than the engine"
    )


def _ignore(_connection: Connection) -> None:
    pass


def _nothing() -> None:
    pass
