"""The shim's one short-lived child: it makes the container, hands it over, and is gone.

A forked interpreter copies every page it touches, and making a container touches most of them.
Done in a process of its own, that memory goes back to the kernel once the container waits for its
start, and the shim that stays behind an idle container is a good deal smaller.

The container's init becomes the shim's child when this process ends, because the shim is a
subreaper. Only after that may init be told to start: what it asks the kernel for, to die with its
parent, is meant for the shim. When the shim dies, so does this process, and init with it.
"""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn, TypeAlias

from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import prctl, process
from kedge.linux.namespaces import CLONE_NEWNET, setns
from kedge.oci import fields
from kedge.shim.framing import FrameReader, Message, encode_frame, receive
from kedge.shim.messages import (
    CreateRequest,
    decode_failure,
    encode_create,
    encode_failure,
    flag,
    integer,
    one_line,
    parse_create,
    part,
)

_NETNS: Final = "/proc/self/ns/net"
_BROKEN: Final = 70


class Made(NamedTuple):
    """A container whose init waits for the word, as one process hands it to another."""

    pid: int
    line: int
    """Descriptor of the line on which init waits."""
    terminal: int
    """Master of init's terminal, -1 without one."""
    mountpoints: tuple[str, ...]
    dies_with_init: bool
    has_poststart: bool


Create: TypeAlias = Callable[[CreateRequest, tuple[int, int, int]], Made]
"""Makes a container with these standard streams, -1 for none; on failure leaves nothing."""


class Maker:
    """The child, forked when this is made, and good for one container."""

    def __init__(self, create: Create, rehearse: Callable[[], None]) -> None:
        """Fork it.

        Args:
            create: What it does when it is asked.
            rehearse: What it does until then.

        Raises:
            OSError: There is no process to be had.
        """
        self._netns = os.stat(_NETNS).st_ino
        self._line, theirs = socket.socketpair()
        parent = os.getpid()
        self._pid = os.fork()  # noqa: TID251 - forking is what this module is for
        if self._pid == 0:
            _be_maker(theirs, parent, create, rehearse)
        theirs.close()

    def make(self, request: CreateRequest, streams: tuple[int, int, int]) -> Made:
        """Return the container ``request`` describes; its init is this process's after `wait`.

        Args:
            request: What to make.
            streams: Its standard streams, -1 for none; they stay the caller's.

        Raises:
            KedgeError: Host or kernel refused; nothing is left behind.
        """
        try:
            made = self._ask(request, streams)
        except BaseException:
            self.discard()
            raise
        self._line.close()
        return made

    def discard(self) -> None:
        """Let the process go that is not needed."""
        self._line.close()
        self.wait()

    def is_alive(self) -> bool:
        """Tell whether the process still waits; one that ended before it was asked is reaped."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG) != (0, 0):
            self._line.close()
            self._pid = 0
        return self._pid != 0

    def wait(self) -> None:
        """Return when the process is gone; its end takes a moment nobody need wait for before."""
        pid, self._pid = self._pid, 0
        if pid:
            # Reaped already by whoever waits for any child is as good.
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _ask(self, request: CreateRequest, streams: tuple[int, int, int]) -> Made:
        sent = [fd for fd in streams if fd >= 0]
        netns = -1
        if os.stat(_NETNS).st_ino != self._netns:
            netns = os.open(_NETNS, os.O_RDONLY | os.O_CLOEXEC)
            sent.append(netns)
        body: JsonObject = {
            "request": encode_create(request),
            "streams": [fd >= 0 for fd in streams],
            "netns": netns >= 0,
        }
        try:
            _send(self._line, body, sent)
            answer = _receive(self._line)
        except OSError as error:
            raise SystemFailureError(
                f"cannot make container {request.id}: {one_line(error)}"
            ) from error
        finally:
            if netns >= 0:
                os.close(netns)
        if answer is None:
            raise SystemFailureError(f"cannot make container {request.id}: its maker died")
        failure = fields.optional_object(answer.body, "error", "made")
        if failure is not None:
            raise decode_failure(failure)
        return _parse_made(answer)


def _be_maker(
    line: socket.socket, parent: int, create: Create, rehearse: Callable[[], None]
) -> NoReturn:
    code = _BROKEN
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        process.close_from(3, keep=(line.fileno(),))
        prctl.set_parent_death_signal(signal.SIGKILL)
        # The shim may have died before the kernel was asked to tell.
        if os.getppid() == parent:
            rehearse()
            _serve(line, create)
        code = 0
    finally:
        os._exit(code)


def _serve(line: socket.socket, create: Create) -> None:
    message = _receive(line)
    if message is None:
        return
    if flag(message.body, "netns"):
        setns(message.fds[-1], CLONE_NEWNET)
    present = fields.read_list(message.body, "streams", "make", _read_flag)
    given = iter(message.fds)
    stdin, stdout, stderr = (next(given) if each else -1 for each in present)
    try:
        made = create(parse_create(part(message.body, "request")), (stdin, stdout, stderr))
    except (KedgeError, OSError) as error:
        _send(line, {"error": encode_failure(error)}, [])
        return
    mountpoints: list[Json] = [*made.mountpoints]
    body: JsonObject = {
        "pid": made.pid,
        "mountpoints": mountpoints,
        "dies_with_init": made.dies_with_init,
        "has_poststart": made.has_poststart,
    }
    _send(line, body, [made.line] if made.terminal < 0 else [made.line, made.terminal])


def _parse_made(answer: Message) -> Made:
    return Made(
        pid=integer(answer.body, "pid"),
        line=answer.fds[0],
        terminal=answer.fds[1] if len(answer.fds) > 1 else -1,
        mountpoints=fields.read_list(answer.body, "mountpoints", "made", fields.read_string_item),
        dies_with_init=flag(answer.body, "dies_with_init"),
        has_poststart=flag(answer.body, "has_poststart"),
    )


def _read_flag(item: Json, path: str) -> bool:
    return bool(fields.optional_boolean({path: item}, path, path))


def _send(line: socket.socket, body: JsonObject, fds: list[int]) -> None:
    data = encode_frame(body, fds=len(fds))
    sent = socket.send_fds(line, [data], fds) if fds else 0
    if sent < len(data):
        # The other end may be gone as soon as it has everything.
        line.sendall(data[sent:])


def _receive(line: socket.socket) -> Message | None:
    """Return the next message; None when the other end is closed."""
    reader = FrameReader()
    while (message := reader.try_next()) is None:
        if not receive(line, reader):
            reader.close()
            return None
    return message
