"""Contexts from the client: a folder kept in step with one of the client's, file by file.

fsutil's protocol, the receiver's part. The client says what there is, in order, folders before what
is in them; whatever is not here already, by size, time of change and mode, is asked for by its
number. The folder stays, so the next build of the same context transfers what has changed. Nothing
the client says leads out of it: every name is checked to stand in a folder made here before.
"""

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kedge.archive.entry import Kind
from kedge.builder.buildkit.messages import PACKET
from kedge.builder.buildkit.rpc import stream_call
from kedge.builder.buildkit.session import Session
from kedge.builder.buildkit.wire import Record, blob, number, part, text
from kedge.errdefs import InvalidParameterError, UnavailableError

if TYPE_CHECKING:
    from grpclib.client import Stream

_PATH: Final = "/moby.filesync.v1.FileSync/DiffCopy"
STAT, REQUEST, DATA, FINISH, ERROR = range(5)
"""Types of packets."""

# Go's os.FileMode, which is what travels.
_GO_DIRECTORY: Final = 1 << 31
_GO_SYMLINK: Final = 1 << 27
_GO_PIPE: Final = 1 << 25
_GO_SETUID: Final = 1 << 23
_GO_SETGID: Final = 1 << 22
_GO_STICKY: Final = 1 << 20
_GO_DEVICE: Final = 1 << 26
_GO_CHARACTER: Final = 1 << 21
_GO_OTHERS: Final = _GO_DEVICE | _GO_CHARACTER | 1 << 24
_GO_KINDS: Final = {
    Kind.REGULAR: 0,
    Kind.HARD_LINK: 0,
    Kind.DIRECTORY: _GO_DIRECTORY,
    Kind.SYMLINK: _GO_SYMLINK,
    Kind.FIFO: _GO_PIPE,
    Kind.BLOCK_DEVICE: _GO_DEVICE,
    Kind.CHAR_DEVICE: _GO_DEVICE | _GO_CHARACTER,
}
_SPECIAL: Final = (
    (_GO_SETUID, stat.S_ISUID),
    (_GO_SETGID, stat.S_ISGID),
    (_GO_STICKY, stat.S_ISVTX),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which files of a client's folder are wanted."""

    name: str
    """``context``, ``dockerfile``, or a named context's."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    """Paths and patterns, which bring what their links lead to; everything for none."""


async def receive_folder(session: Session, wanted: Wanted, root: str) -> int:
    """Make ``root`` what the client's folder is; return how many bytes were transferred.

    Raises:
        UnavailableError: The client has gone or failed.
        InvalidParameterError: It sent what is no such folder.
    """
    os.makedirs(root, mode=0o700, exist_ok=True)
    method = stream_call(session.channel, _PATH, PACKET, PACKET)
    receiver = _Receiver(root)
    try:
        async with method.open(metadata=_metadata(wanted)) as stream:
            await receiver.run(stream)
    except GRPCError as error:
        raise UnavailableError(
            f"the client failed to send {wanted.name}: {error.message}"
        ) from error
    except (StreamTerminatedError, ProtocolError, ConnectionError) as error:
        # Go's server resets a call it has answered whole before this side has closed it.
        if not receiver.is_complete:
            raise UnavailableError("the client went away while it sent its files") from error
    receiver.finish()
    return receiver.transferred


def _metadata(wanted: Wanted) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    _add(pairs, "dir-name", (wanted.name,))
    _add(pairs, "include-patterns", wanted.include)
    _add(pairs, "exclude-patterns", wanted.exclude)
    _add(pairs, "followpaths", wanted.follow)
    return pairs


def _add(pairs: list[tuple[str, str]], key: str, values: Iterable[str]) -> None:
    found = list(values)
    if all(value.isascii() and value.isprintable() for value in found):
        pairs += [(key, value) for value in found]
        return
    pairs += [(key, quote(value)) for value in found]
    pairs.append((f"{key}-encoded", "1"))


@dataclass(slots=True)
class _Coming:
    """A file on its way."""

    path: str
    stat: Record
    descriptor: int = -1


@dataclass(slots=True)
class _Receiver:
    root: str
    transferred: int = 0
    is_complete: bool = False
    """Everything is here; what the client still says does not matter."""
    _folders: set[str] = field(default_factory=lambda: {""})
    _seen: set[str] = field(default_factory=set)
    _coming: dict[int, _Coming] = field(default_factory=dict)
    _modes: list[tuple[str, Record]] = field(default_factory=list)
    _links: list[tuple[str, str]] = field(default_factory=list)
    """Hard links: each with the file it is one of, which may still be on its way."""
    _requests: "asyncio.Queue[Record]" = field(default_factory=asyncio.Queue)
    _count: int = 0
    _listed: bool = False

    async def run(self, stream: "Stream[Record, Record]") -> None:
        await stream.send_request()
        # Asking must not wait for reading: both sides would wait for each other.
        sender = asyncio.create_task(self._send(stream))
        try:
            while (packet := await stream.recv_message()) is not None:
                if self._take(packet):
                    break
            else:
                raise UnavailableError("the client ended before all its files were here")
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, StreamTerminatedError, ProtocolError):
                await sender
            for coming in self._coming.values():
                if coming.descriptor >= 0:
                    os.close(coming.descriptor)

    async def _send(self, stream: "Stream[Record, Record]") -> None:
        while True:
            await stream.send_message(await self._requests.get())

    def _take(self, packet: Record) -> bool:
        """Act on one packet; return whether it was the last."""
        kind = number(packet, "type")
        if kind == STAT:
            if "stat" in packet:
                self._stat(part(packet, "stat"))
            else:
                self._listed = True
                self._finish_if_complete()
        elif kind == DATA:
            self._data(number(packet, "ID"), blob(packet, "data"))
        elif kind == ERROR:
            message = blob(packet, "data").decode(errors="replace")
            raise UnavailableError(f"the client failed to send its files: {message}")
        return kind == FINISH

    def _finish_if_complete(self) -> None:
        if self._listed and not self._coming:
            self.is_complete = True
            self._requests.put_nowait({"type": FINISH})

    def _stat(self, entry: Record) -> None:
        identity, self._count = self._count, self._count + 1
        path = text(entry, "path").strip("/")
        parent, _, name = path.rpartition("/")
        if parent not in self._folders or name in ("", ".", "..") or "\0" in path:
            raise InvalidParameterError(f"the client sent an impossible file name: {path!r}")
        self._seen.add(path)
        mode, place = number(entry, "mode"), os.path.join(self.root, path)
        known = _status(place)
        if mode & _GO_DIRECTORY:
            self._folder(path, place, known, entry)
        elif mode & _GO_SYMLINK:
            target = text(entry, "linkname")
            if known is None or not stat.S_ISLNK(known.st_mode) or os.readlink(place) != target:
                _remove(place, known)
                os.symlink(target, place)
            _set_time(place, entry)
        elif text(entry, "linkname"):
            self._hard_link(place, known, text(entry, "linkname").strip("/"))
        elif mode & _GO_PIPE:
            _remove(place, known)
            os.mkfifo(place, mode & 0o777)
        elif not mode & _GO_OTHERS and not _is_same(known, entry):
            _remove(place, known)
            self._coming[identity] = _Coming(place, entry)
            self._requests.put_nowait({"type": REQUEST, "ID": identity})

    def _folder(self, path: str, place: str, known: os.stat_result | None, entry: Record) -> None:
        if known is None or not stat.S_ISDIR(known.st_mode):
            _remove(place, known)
            os.mkdir(place, 0o700)
        self._folders.add(path)
        self._modes.append((place, entry))

    def _hard_link(self, place: str, known: os.stat_result | None, target: str) -> None:
        if target not in self._seen or target in self._folders:
            raise InvalidParameterError(f"the client sent a link to what it did not send: {target}")
        _remove(place, known)
        self._links.append((place, os.path.join(self.root, target)))

    def _data(self, identity: int, data: bytes) -> None:
        coming = self._coming.get(identity)
        if coming is None:
            raise InvalidParameterError(f"the client sent a file nobody asked for: {identity}")
        if coming.descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            coming.descriptor = os.open(coming.path, flags, 0o600)
        if data:
            view = memoryview(data)
            while view:
                view = view[os.write(coming.descriptor, view) :]
            self.transferred += len(data)
            return
        if number(coming.stat, "size") and not os.fstat(coming.descriptor).st_size:
            # What it cannot open, Go's client sends as an empty file, without a word.
            raise InvalidParameterError(
                f"cannot read {text(coming.stat, 'path')}: its client sent nothing of it, perhaps "
                "for want of permission: list it in .dockerignore, or run as a user who can"
            )
        os.fchmod(coming.descriptor, _permissions(number(coming.stat, "mode")))
        os.close(coming.descriptor)
        # Only a whole file gets its time, by which the next transfer knows it.
        _set_time(coming.path, coming.stat)
        del self._coming[identity]
        self._finish_if_complete()

    def finish(self) -> None:
        """Remove what the client does not have any more, and set the folders' modes."""
        for folder, folders, files in os.walk(self.root, topdown=True):
            below = os.path.relpath(folder, self.root)
            prefix = "" if below == "." else f"{below}/"
            for name in (*folders, *files):
                if f"{prefix}{name}" not in self._seen:
                    place = os.path.join(folder, name)
                    _remove(place, _status(place))
            folders[:] = [name for name in folders if f"{prefix}{name}" in self._seen]
        for place, target in self._links:
            os.link(target, place, follow_symlinks=False)
        for place, entry in reversed(self._modes):
            os.chmod(place, _permissions(number(entry, "mode")))
            _set_time(place, entry)


def _status(place: str) -> os.stat_result | None:
    try:
        return os.lstat(place)
    except FileNotFoundError:
        return None


def _is_same(known: os.stat_result | None, entry: Record) -> bool:
    return (
        known is not None
        and stat.S_ISREG(known.st_mode)
        and known.st_size == number(entry, "size")
        and known.st_mtime_ns == number(entry, "modTime")
        and stat.S_IMODE(known.st_mode) == _permissions(number(entry, "mode"))
    )


def _permissions(mode: int) -> int:
    found = mode & 0o777
    for go, bit in _SPECIAL:
        found |= bit if mode & go else 0
    return found


def go_mode(kind: Kind, mode: int) -> int:
    """Return kind and permissions as Go's ``os.FileMode``."""
    found = _GO_KINDS[kind] | mode & 0o777
    for go, bit in _SPECIAL:
        found |= go if mode & bit else 0
    return found


def _set_time(place: str, entry: Record) -> None:
    moment = number(entry, "modTime")
    os.utime(place, ns=(moment, moment), follow_symlinks=False)


def _remove(place: str, known: os.stat_result | None) -> None:
    if known is None:
        return
    if stat.S_ISDIR(known.st_mode):
        shutil.rmtree(place)
    else:
        os.unlink(place)
