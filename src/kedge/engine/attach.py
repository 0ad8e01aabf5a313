"""Attaching to a container: running, or created and about to start.

`docker run` attaches before it starts the container, when there is no shim yet. Such a session
gets one end of a socket pair at once; the other end waits in the container's list and is handed
to the shim as soon as there is one, so that no byte of output is missed.
"""

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.api.options import AttachOptions, LogOptions
from kedge.api.streams import AttachedStream
from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.logs import open_log
from kedge.engine.state import Status
from kedge.errdefs import ConflictError
from kedge.shim.client import Shim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True, kw_only=True)
class WaitingAttach:
    """A session that waits for its container's shim."""

    sock: socket.socket
    stdin: bool
    stdout: bool
    stderr: bool

    async def hand_over(self, shim: Shim) -> int:
        """Give the session's far end to ``shim``; return when its stream begins."""
        return await shim.attach_to(
            self.sock, stdin=self.stdin, stdout=self.stdout, stderr=self.stderr
        )

    def close(self) -> None:
        """End the session; the client sees the end of the stream."""
        self.sock.close()


async def attach(
    context: EngineContext, container: Container, options: AttachOptions
) -> AttachedStream:
    """Open a session with a container's first process.

    Raises:
        ConflictError: It is paused, or it has ended and only the past could be shown.
    """
    record = container.record
    if record.status is Status.PAUSED:
        raise ConflictError(
            f"container {container.name} is paused, unpause the container before attach"
        )
    if record.status is Status.RESTARTING:
        raise ConflictError(
            f"container {container.name} is restarting, wait until the container is running"
        )
    stdin = options.stdin and record.config.open_stdin
    sock: socket.socket | None = None
    begin_ns = 0
    if options.stream:
        sock, begin_ns = await _open(container, options, stdin=stdin)
    history: AsyncIterator[bytes] | None = None
    if options.logs:
        # The log up to where the stream begins: no line comes twice, and none is left out.
        past = LogOptions(stdout=options.stdout, stderr=options.stderr, until_ns=begin_ns)
        history = (await open_log(context, container, past)).chunks
    announce(context, container, "attach")
    return AttachedStream(
        tty=record.config.tty,
        stdin=stdin,
        sock=sock,
        detach_keys=options.detach_keys if record.config.tty else b"",
        history=history,
        on_detach=lambda: announce(context, container, "detach"),
    )


async def _open(
    container: Container, options: AttachOptions, *, stdin: bool
) -> tuple[socket.socket, int]:
    """Return a stream of output and when it begins; 0 where nothing was written before it."""
    if container.record.status is Status.RESTARTING:
        raise ConflictError(
            f"container {container.id} is restarting, wait until the container is running"
        )
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    here.settimeout(0)
    session = WaitingAttach(sock=there, stdin=stdin, stdout=options.stdout, stderr=options.stderr)
    if container.shim is None or not container.record.alive:
        container.waiting_attaches.append(session)
        return here, 0
    try:
        return here, await session.hand_over(container.shim)
    except BaseException:
        here.close()
        raise
