"""Lines of output as messages to a logging service of the host: syslog or the systemd journal.

Formats are those of RFC 3164, RFC 5424 and the journal's native protocol; what a message looks like
is `SyslogFormat`'s and `JournalFormat`'s, how it travels is `LogForwarder`'s. A service that cannot
be reached costs lines, never the container: what is lost is tried for again a second later at the
earliest, as dockerd does it.
"""

import os
import time
from array import array
from collections import deque
from contextlib import suppress
from errno import EMSGSIZE
from fcntl import fcntl
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    SCM_RIGHTS,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from typing import Final, Protocol

from kedge.lib.clock import SYSTEM_CLOCK, Clock, format_rfc3339
from kedge.linux.namespaces import CLONE_NEWNET, setns
from kedge.shim.jsonlog import PARTIAL_SIZE, cut_before
from kedge.shim.logconfig import JOURNALD, LogForward
from kedge.shim.luggage import Luggage
from kedge.shim.messages import STDERR, STDOUT
from kedge.shim.reactor import WRITABLE, Reactor

_BACKLOG_HIGH: Final = 1024 * 1024
_RETRY_S: Final = 1.0
_LAST_WORDS_S: Final = 1.0
_INFO, _ERROR = 6, 3
_DATAGRAM: Final = frozenset({"udp", "unixgram"})
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
# include/uapi/linux/fcntl.h; the journal takes a memory file only if nobody can change it.
_F_ADD_SEALS: Final = 1033
_ALL_SEALS: Final = 0xF


class Format(Protocol):
    """How one line becomes a message."""

    def encode(self, stream: int, line: bytes, *, partial: bool) -> bytes:
        """Return the message for a line, or a piece of one, which has no newline."""
        ...


class SyslogFormat:
    """One syslog message a line."""

    def __init__(self, forward: LogForward, clock: Clock) -> None:
        """Write for ``forward``'s service."""
        self._forward = forward
        self._clock = clock
        self._second = -1
        self._heads: dict[int, bytes] = {}

    def encode(self, stream: int, line: bytes, *, partial: bool) -> bytes:
        """Return the message, with the newline that ends it on a stream."""
        del partial
        now_ns = self._clock.time_ns()
        # Only the format with microseconds needs a new head for each line.
        second = now_ns // 1000 if self._forward.format == "rfc5424micro" else now_ns // 10**9
        if second != self._second:
            self._second = second
            self._heads = {STDOUT: self._head(_INFO, now_ns), STDERR: self._head(_ERROR, now_ns)}
        return self._heads[stream] + line + b"\n"

    def _head(self, severity: int, now_ns: int) -> bytes:
        forward, pid = self._forward, os.getpid()
        priority = forward.facility * 8 + severity
        if forward.format.startswith("rfc5424"):
            stamp = format_rfc3339(now_ns)
            stamp = f"{stamp[:26]}Z" if forward.format.endswith("micro") else f"{stamp[:19]}Z"
            tag = forward.tag
            text = f"<{priority}>1 {stamp} {forward.hostname} {tag} {pid} {tag} - "
        else:
            local = time.localtime(now_ns // 10**9)
            clock = time.strftime("%H:%M:%S", local)
            stamp = f"{_MONTHS[3 * local.tm_mon - 3 : 3 * local.tm_mon]} {local.tm_mday:2} {clock}"
            host = f"{forward.hostname} " if forward.format == "rfc3164" else ""
            text = f"<{priority}>{stamp} {host}{forward.tag}[{pid}]: "
        return text.encode()


class JournalFormat:
    """One entry of the journal a line, with the container's fields."""

    def __init__(self, forward: LogForward) -> None:
        """Send ``forward``'s fields with each entry."""
        self._fields = b"".join(journal_field(key, value.encode()) for key, value in forward.labels)

    def encode(self, stream: int, line: bytes, *, partial: bool) -> bytes:
        """Return the entry."""
        severity = _ERROR if stream == STDERR else _INFO
        more = b"CONTAINER_PARTIAL_MESSAGE=true\n" if partial else b""
        return b"PRIORITY=%d\n%b%b%b" % (
            severity, more, self._fields, journal_field("MESSAGE", line),
        )  # fmt: skip


def journal_field(name: str, value: bytes) -> bytes:
    """Return one field; a value with newlines is preceded by its length."""
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (name.encode(), value)


class LogForwarder:
    """Sends lines to one service; implements `kedge.shim.logsink.LogSink`."""

    def __init__(
        self,
        forward: LogForward,
        reactor: Reactor,
        form: Format,
        *,
        host_netns: int,
        buffer_size: int,
    ) -> None:
        """Connect.

        Raises:
            OSError: The service is not there.
        """
        self._forward = forward
        self._reactor = reactor
        self._format = form
        self._host_netns = host_netns
        self._limit = buffer_size or _BACKLOG_HIGH
        self._drops = buffer_size > 0
        self._joins = forward.network not in _DATAGRAM
        self._tails = {STDOUT: b"", STDERR: b""}
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._tell = _nothing
        self._torn = False
        self._retry_at = 0.0
        self.dropped = 0
        self._socket: socket | None = self._connect()

    @property
    def is_backed_up(self) -> bool:
        """Whether the program should wait."""
        return not self._drops and self._queued > self._limit

    def when_relieved(self, tell: "_Tell") -> None:
        """Call ``tell`` when the service has taken more."""
        self._tell = tell

    def write(self, stream: int, chunk: bytes) -> None:
        """Send the lines of a chunk; a line that is not whole waits."""
        *lines, tail = (self._tails[stream] + chunk).split(b"\n")
        messages: list[bytes] = []
        for line in lines:
            messages += self._messages(stream, line)
        while len(tail) >= PARTIAL_SIZE:
            cut = cut_before(tail, PARTIAL_SIZE)
            messages.append(self._format.encode(stream, tail[:cut], partial=True))
            tail = tail[cut:]
        self._tails[stream] = tail
        self._send(messages)

    def try_pack(self, _luggage: Luggage) -> None:
        """Stay: a connection has a state of its own, and lines may wait."""

    def close(self) -> None:
        """Send what has no newline yet, and wait a moment for a slow service."""
        for stream, tail in self._tails.items():
            if tail:
                self._tails[stream] = b""
                self._send([self._format.encode(stream, tail, partial=False)])
        if self._socket is not None:
            self._reactor.forget(self._socket.fileno())
            self._socket.settimeout(_LAST_WORDS_S)
            with suppress(OSError):
                for item in self._queue:
                    self._socket.sendall(item)
            self._socket.close()
            self._socket = None
        if self._host_netns >= 0:
            os.close(self._host_netns)
            self._host_netns = -1

    def _messages(self, stream: int, line: bytes) -> list[bytes]:
        messages: list[bytes] = []
        while len(line) > PARTIAL_SIZE:
            cut = cut_before(line, PARTIAL_SIZE)
            messages.append(self._format.encode(stream, line[:cut], partial=True))
            line = line[cut:]
        # dockerd, too, sends no message for an empty line.
        if line:
            messages.append(self._format.encode(stream, line, partial=False))
        return messages

    def _send(self, messages: list[bytes]) -> None:
        if not messages:
            return
        for item in [b"".join(messages)] if self._joins else messages:
            if self._drops and self._queued + len(item) > self._limit:
                self.dropped += 1
                continue
            self._queue.append(memoryview(item))
            self._queued += len(item)
        if not self._flush_or_lose():
            self._lose_queue()

    def _flush_or_lose(self) -> bool:
        """Send what the service takes; return False when it is gone."""
        if self._socket is None and not self._reconnect():
            return False
        try:
            self._flush()
        except OSError:
            # As dockerd: one attempt at a new connection, then the lines are lost.
            self._disconnect()
            if not self._reconnect():
                return False
            try:
                self._flush()
            except OSError:
                self._disconnect()
                return False
        return True

    def _flush(self) -> None:
        connection = self._socket
        assert connection is not None
        try:
            while self._queue:
                item = self._queue[0]
                sent = self._send_one(connection, item)
                self._queued -= sent
                self._torn = sent < len(item)
                if self._torn:
                    self._queue[0] = item[sent:]
                else:
                    self._queue.popleft()
        except BlockingIOError:
            if not self._reactor.is_watched(connection.fileno()):
                self._reactor.watch(connection.fileno(), WRITABLE, self._ready)
            return
        self._reactor.forget(connection.fileno())

    def _send_one(self, connection: socket, item: memoryview) -> int:
        try:
            return connection.send(item)
        except OSError as error:
            if error.errno != EMSGSIZE or self._forward.driver != JOURNALD:
                raise
        fd = os.memfd_create("kedge-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, item)
            fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)
            connection.sendmsg([], [(SOL_SOCKET, SCM_RIGHTS, array("i", [fd]))])
        finally:
            os.close(fd)
        return len(item)

    def _ready(self, _events: int) -> None:
        if not self._flush_or_lose():
            self._lose_queue()
        self._tell()

    def _lose_queue(self) -> None:
        self.dropped += len(self._queue)
        self._queue.clear()
        self._queued = 0

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._reactor.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._torn:
            # Half a message means nothing to another connection.
            self._torn = False
            self._queued -= len(self._queue.popleft())

    def _reconnect(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + _RETRY_S
        try:
            self._socket = self._connect()
        except OSError:
            return False
        return True

    def _connect(self) -> socket:
        network, address = self._forward.network, self._forward.address
        kind = SOCK_DGRAM if network in _DATAGRAM else SOCK_STREAM
        if network.startswith("unix"):
            connection = socket(AF_UNIX, kind)
            where: str | tuple[str, int] = address
        else:
            host, _, port = address.rpartition(":")
            host = host.strip("[]")
            connection = self._host_socket(AF_INET6 if ":" in host else AF_INET, kind)
            where = host, int(port)
        try:
            # Bounded, because everything else this process does waits for it.
            connection.settimeout(_LAST_WORDS_S)
            connection.connect(where)
        except OSError as error:
            connection.close()
            error.filename = f"dial {network} {address}: connect"
            raise
        connection.settimeout(0)
        return connection

    def _host_socket(self, family: int, kind: int) -> socket:
        """Make a socket in the host's network: it stays there, whoever uses it."""
        if self._host_netns < 0:
            return socket(family, kind)
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self._host_netns, CLONE_NEWNET)
            try:
                return socket(family, kind)
            finally:
                setns(own, CLONE_NEWNET)
        finally:
            os.close(own)


class _Tell(Protocol):
    def __call__(self) -> None: ...


def open_forwarder(
    forward: LogForward, reactor: Reactor, *, host_netns: int, buffer_size: int
) -> LogForwarder:
    """Connect to the service of ``forward``.

    Raises:
        OSError: It is not there.
    """
    form: Format
    if forward.driver == JOURNALD:
        form = JournalFormat(forward)
    else:
        form = SyslogFormat(forward, SYSTEM_CLOCK)
    return LogForwarder(forward, reactor, form, host_netns=host_netns, buffer_size=buffer_size)


def _nothing() -> None:
    pass
