"""Results to the client: folders and archives through its session, which puts them in place.

A folder travels by fsutil's protocol, the sender's part: a line for each entry, and a regular
file's content once the client has asked for it. An archive is a stream of bytes.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kedge.archive.entry import Entry, Kind
from kedge.archive.members import Member
from kedge.archive.writer import Writable
from kedge.builder.buildkit.filesync import DATA, ERROR, FINISH, REQUEST, STAT, go_mode
from kedge.builder.buildkit.messages import BYTES, PACKET
from kedge.builder.buildkit.rpc import stream_call
from kedge.builder.buildkit.session import Session
from kedge.builder.buildkit.wire import Record, Schema, Value, blob, number
from kedge.errdefs import UnavailableError

if TYPE_CHECKING:
    from grpclib.client import Stream

_PATH: Final = "/moby.filesync.v1.FileSend/DiffCopy"
_CHUNK: Final = 32 * 1024
_PIECE: Final = 1024 * 1024


class SessionSinks:
    """Satisfies the builder's ``Sinks`` for one build, from the build's thread."""

    def __init__(
        self, session: Session, identities: tuple[str, ...], check: Callable[[], None]
    ) -> None:
        """Send to ``session``.

        Args:
            session: The client.
            identities: How the client calls each output.
            check: Raises when the build is cancelled.
        """
        self._session = session
        self._identities = identities
        self._check = check

    @contextmanager
    def stream(self, index: int) -> Generator[Writable, None, None]:
        """Open the receiver of an archive."""
        with self._open(index, BYTES) as line:
            pieces = _Pieces(line)
            yield pieces
            pieces.flush()
            line.end()

    def files(self, index: int, members: Iterable[Member]) -> None:
        """Send a tree, which the client unpacks."""
        with self._open(index, PACKET) as line:
            for identity, member in enumerate(members):
                line.send({"type": STAT, "stat": _stat(member.entry)})
                if member.entry.kind is Kind.REGULAR:
                    line.expect(REQUEST, identity)
                    for piece in member.content:
                        for start in range(0, len(piece), _CHUNK):
                            data = bytes(piece[start : start + _CHUNK])
                            line.send({"type": DATA, "ID": identity, "data": data})
                    line.send({"type": DATA, "ID": identity})
            line.send({"type": STAT})
            line.expect(FINISH, 0)
            line.send({"type": FINISH})
            line.end()

    @contextmanager
    def _open(self, index: int, schema: Schema) -> Generator["_Line", None, None]:
        method = stream_call(self._session.channel, _PATH, schema, schema)
        metadata = [("buildkit-attachable-exporter-id", self._identities[index])]
        opened = method.open(metadata=metadata)
        try:
            stream = self._session.wait(opened.__aenter__(), self._check)
            try:
                yield _Line(self._session, stream, self._check)
            except BaseException as error:
                # A receiver that is cut off takes nothing for the whole.
                self._session.wait(opened.__aexit__(type(error), error, None), _nothing)
                raise
        except GRPCError as error:
            raise UnavailableError(f"the client refused the result: {error.message}") from error
        except (StreamTerminatedError, ProtocolError, ConnectionError) as error:
            raise UnavailableError("the client went away in the middle of an output") from error
        self._session.wait(opened.__aexit__(None, None, None), self._check)


class _Line:
    """One call to the client, used from a thread."""

    def __init__(
        self, session: Session, stream: "Stream[Record, Record]", check: Callable[[], None]
    ) -> None:
        self._session = session
        self._stream = stream
        self._check = check

    def send(self, message: Record) -> None:
        self._session.wait(self._stream.send_message(message), self._check)

    def expect(self, kind: int, identity: int) -> None:
        """Wait for the packet that has to come now."""
        packet = self._session.wait(self._stream.recv_message(), self._check)
        if packet is None:
            raise UnavailableError("the client ended before it had the whole result")
        if number(packet, "type") == ERROR:
            reason = blob(packet, "data").decode(errors="replace")
            raise UnavailableError(f"the client cannot take the result: {reason}")
        if number(packet, "type") != kind or number(packet, "ID") != identity:
            raise UnavailableError("the client asked for something it was not offered")

    def end(self) -> None:
        """Say that this is all, and wait until the client has taken it."""
        self._session.wait(self._stream.end(), self._check)
        while self._session.wait(self._stream.recv_message(), self._check) is not None:
            continue


class _Pieces:
    """A stream of bytes as messages of a good size."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._buffer = bytearray()

    def write(self, data: bytes, /) -> None:
        """Take all of ``data``."""
        self._buffer += data
        while len(self._buffer) >= _PIECE:
            self._line.send({"data": bytes(self._buffer[:_PIECE])})
            del self._buffer[:_PIECE]

    def flush(self) -> None:
        """Send the rest."""
        if self._buffer:
            self._line.send({"data": bytes(self._buffer)})
            self._buffer.clear()


def _stat(entry: Entry) -> Record:
    major, minor = entry.device
    xattrs: dict[str, Value] = {name: bytes(value) for name, value in entry.xattrs.items()}
    return {
        "path": entry.name.strip("/"),
        "mode": go_mode(entry.kind, entry.mode),
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "modTime": entry.mtime_ns,
        "linkname": entry.link_target.strip("/")
        if entry.kind is Kind.HARD_LINK
        else entry.link_target,
        "devmajor": major,
        "devminor": minor,
        "xattrs": xattrs,
    }


def _nothing() -> None:
    pass
