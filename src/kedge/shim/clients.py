"""One attached client: a stream socket that gets a process's output and may feed its input.

Output goes out framed as Docker's stdcopy does it (`[stream, 0, 0, 0, length as be32]`) or, for a
terminal, raw. A client that reads slowly gathers a backlog, and `Streams` stops reading from
the program while any backlog is high; a client that is gone is dropped. Nothing here ever blocks.
"""

from collections import deque
from collections.abc import Callable
from socket import MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_RDWR, socket
from typing import Final, TypeAlias

from kedge.shim.messages import STDERR, STDOUT
from kedge.shim.reactor import BROKEN, READABLE, WRITABLE, Reactor

BACKLOG_HIGH: Final = 512 * 1024
_INPUT_SIZE: Final = 65536
_FRAME_HEADER: Final = {STDOUT: b"\x01\0\0\0", STDERR: b"\x02\0\0\0"}

OnInput: TypeAlias = "Callable[[Client, bytes], None]"
OnGone: TypeAlias = "Callable[[Client], None]"
OnRelief: TypeAlias = Callable[[], None]


class Client:
    """A socket between a process's streams and whoever attached."""

    def __init__(
        self,
        reactor: Reactor,
        connection: socket,
        streams: frozenset[int],
        *,
        framed: bool,
        feeds: bool,
    ) -> None:
        """Take over ``connection``.

        Args:
            reactor: Where to wait.
            connection: The client's stream socket.
            streams: Which of STDOUT and STDERR it wants.
            framed: Whether output is multiplexed.
            feeds: Whether what it sends is the process's standard input.
        """
        self._reactor = reactor
        self._socket = connection
        self.has_fed = feeds
        """Whether it may send input, or might until it stopped."""
        self._streams = streams
        self._framed = framed
        self._feeding = feeds
        self._held = False
        self._ending = False
        self._backlog: deque[memoryview] = deque()
        self.backlog_bytes = 0
        self.on_input: OnInput = _ignore_input
        """Called with what the client sends."""
        self.on_input_end: OnGone = _ignore_gone
        """Called when the client has shut down its sending side and still listens."""
        self.on_relief: OnRelief = _ignore_relief
        """Called when the backlog has become smaller, and when the client is gone."""
        self.on_gone: OnGone = _ignore_gone
        connection.settimeout(0)
        self._mask = READABLE if feeds else 0
        reactor.watch(connection.fileno(), self._mask, self._ready)

    def send(self, stream: int, chunk: bytes) -> None:
        """Deliver output now, or queue what the socket does not take."""
        if stream not in self._streams or self._ending:
            return
        if self._framed:
            header = _FRAME_HEADER[stream] + len(chunk).to_bytes(4, "big")
            self._push(memoryview(header), memoryview(chunk))
        else:
            self._push(memoryview(chunk))

    def finish(self) -> None:
        """Close the connection once everything queued is through."""
        self._ending = True
        if not self._backlog:
            self.drop()

    def drop(self) -> None:
        """Close the connection now; `on_gone` says so."""
        if self._socket.fileno() < 0:
            return
        self._reactor.forget(self._socket.fileno())
        self._hang_up()
        self._backlog.clear()
        self.backlog_bytes = 0
        self._feeding = False
        self.on_gone(self)
        self.on_relief()

    def hold_input(self) -> None:
        """Stop reading from the client until `release_input`: the process does not take more."""
        self._held = True
        self._update()

    def release_input(self) -> None:
        """Read from the client again."""
        self._held = False
        self._update()

    def _push(self, *parts: memoryview) -> None:
        sent = 0
        if not self._backlog:
            try:
                sent = self._socket.sendmsg(parts, (), MSG_NOSIGNAL)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.drop()
                return
        for part in parts:
            if sent < len(part):
                self._backlog.append(part[sent:])
                self.backlog_bytes += len(part) - sent
            sent = max(0, sent - len(part))
        if self._backlog:
            self._update()

    def _ready(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        if events & (READABLE | BROKEN) and self._socket.fileno() >= 0:
            self._read(broken=bool(events & BROKEN))

    def _flush(self) -> None:
        try:
            while self._backlog:
                sent = self._socket.send(self._backlog[0], MSG_NOSIGNAL)
                self.backlog_bytes -= sent
                if sent < len(self._backlog[0]):
                    self._backlog[0] = self._backlog[0][sent:]
                else:
                    self._backlog.popleft()
        except BlockingIOError:
            self.on_relief()
            return
        except OSError:
            self.drop()
            return
        if self._ending:
            self.drop()
            return
        self._update()
        self.on_relief()

    def _read(self, *, broken: bool) -> None:
        if self._feeding and self._held:
            # A broken socket is reported for ever; look at it again when its input is wanted.
            self._reactor.forget(self._socket.fileno())
            self._abandon_output()
            return
        if not self._feeding:
            if broken:
                self.drop()
            return
        try:
            chunk = self._socket.recv(_INPUT_SIZE)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self.on_input(self, chunk)
            return
        if broken:
            self.drop()
            return
        self._feeding = False
        self._update()
        self.on_input_end(self)

    def _abandon_output(self) -> None:
        self._streams = frozenset[int]()
        self._backlog.clear()
        self.backlog_bytes = 0
        self.on_relief()

    def _update(self) -> None:
        fd = self._socket.fileno()
        if fd < 0:
            return
        mask = READABLE if self._feeding and not self._held else 0
        if self._backlog:
            mask |= WRITABLE
        if not self._reactor.is_watched(fd):
            self._reactor.watch(fd, mask, self._ready)
        elif mask != self._mask:
            self._reactor.change(fd, mask)
        self._mask = mask

    def _hang_up(self) -> None:
        """Close so that the peer sees end of file and no reset, which unread input would cause."""
        try:
            self._socket.shutdown(SHUT_RDWR)
            while self._socket.recv(_INPUT_SIZE, MSG_DONTWAIT):
                pass
        except OSError:
            pass
        self._socket.close()


def _ignore_input(_client: Client, _chunk: bytes) -> None:
    pass


def _ignore_relief() -> None:
    pass


def _ignore_gone(_client: Client) -> None:
    pass
