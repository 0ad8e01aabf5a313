"""The exec sessions of one container: further processes, each with streams of its own.

The exit of an exec is said as soon as its process is reaped and its pipes are read empty. A child
it left in the background may hold the pipes open; the client's stream is then closed a moment
later, so that ``exec c sh -c 'daemon &'`` comes back.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from socket import socket
from typing import Final

from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import process
from kedge.shim.messages import STDERR, STDOUT, ExecRequest, ExitStatus, encode_exit
from kedge.shim.reactor import Reactor
from kedge.shim.streams import Streams, open_pipes
from kedge.shim.task import ExecProcess, Task

_LINGER_S: Final = 0.5
# Exit codes are kept for an engine that comes back; more than it can have missed is waste.
_KEPT_EXITS: Final = 128


class ExecSession:
    """One exec: running, or ended and remembered."""

    def __init__(self, running: ExecProcess, streams: Streams) -> None:
        self.pid = running.pid
        self.pidfd = running.pidfd
        self.streams = streams
        self.status: ExitStatus | None = None

    def kill_all(self) -> None:
        """Kill the process and its group while it runs; it leads a session of its own."""
        if self.status is None:
            with suppress(OSError):
                process.send_signal(self.pidfd, signal.SIGKILL)
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def describe(self) -> JsonObject:
        """Return the session for an engine that connects."""
        status = None if self.status is None else encode_exit(self.status)
        return {"pid": self.pid, "exit": status}


class ExecSessions:
    """Starts, ends and remembers them."""

    def __init__(self, reactor: Reactor, announce: Callable[[JsonObject], None]) -> None:
        """Have none yet; ``announce`` is told of every exit."""
        self._reactor = reactor
        self._announce = announce
        self._sessions: dict[str, ExecSession] = {}
        self._earlier: JsonObject = {}
        """Those that ended in the time of another worker, as they describe themselves."""

    def start(self, task: Task, request: ExecRequest, fds: list[int]) -> int:
        """Run a process inside; return its pid.

        Args:
            task: The running container.
            request: What to run.
            fds: The client's stream socket, or nothing for a detached process; taken out of the
                list once it is in use.

        Raises:
            ConflictError: The id is taken.
            KedgeError: The process cannot be started; nothing is left.
        """
        if request.exec_id in self._sessions or request.exec_id in self._earlier:
            raise ConflictError(f"exec id {request.exec_id} is already in use")
        attached = bool(fds)
        piped = attached and not request.terminal
        pipes = open_pipes(
            stdin=piped and request.stdin,
            stdout=piped and request.stdout,
            stderr=piped and request.stderr,
        )
        try:
            running = task.exec(request, pipes)
        except BaseException:
            pipes.close_all()
            raise
        pipes.close_theirs()
        streams = Streams(self._reactor, log=None, close_stdin_once=True)
        if running.terminal >= 0:
            streams.use_terminal(running.terminal, feeds=attached and request.stdin)
            streams.start_terminal()
        else:
            streams.use_pipes(pipes)
        if attached:
            connection, fds[0] = socket(fileno=fds[0]), -1
            streams.attach(connection, _wanted(request), feeds=request.stdin)
        session = self._sessions[request.exec_id] = ExecSession(running, streams)
        if request.ends_with_client:
            streams.on_hang_up = session.kill_all
        return running.pid

    def reap(self, pid: int, status: ExitStatus) -> bool:
        """Take note of a dead child; return whether it was an exec's process."""
        for exec_id, session in self._sessions.items():
            if session.pid == pid and session.status is None:
                self._end(exec_id, session, status)
                return True
        return False

    def resize(self, exec_id: str, *, rows: int, columns: int) -> None:
        """Set the size of an exec's terminal."""
        self._running(exec_id).streams.resize(rows=rows, columns=columns)

    def signal(self, exec_id: str, signum: int) -> None:
        """Send ``signum`` to an exec's process."""
        process.send_signal(self._running(exec_id).pidfd, signum)

    def describe(self) -> dict[str, Json]:
        """Return every session by its id, for an engine that connects."""
        own = {exec_id: session.describe() for exec_id, session in self._sessions.items()}
        return {**self._earlier, **own}

    @property
    def can_rest(self) -> bool:
        """Whether all have ended, and every client has got everything."""
        return self.is_flushed and all(each.status is not None for each in self._sessions.values())

    def resume(self, described: JsonObject) -> None:
        """Remember what `describe` told of, which is all that is left of those."""
        self._earlier = described
        self._forget_old()

    def finish(self) -> None:
        """Close all streams; the container has ended."""
        for session in self._sessions.values():
            session.streams.finish()

    def drop_clients(self) -> None:
        """Close all clients' connections."""
        for session in self._sessions.values():
            session.streams.drop_clients()

    @property
    def is_flushed(self) -> bool:
        """Whether every client has got everything."""
        return all(session.streams.is_flushed for session in self._sessions.values())

    def _running(self, exec_id: str) -> ExecSession:
        session = self._sessions.get(exec_id)
        if session is None and exec_id in self._earlier:
            raise ConflictError(f"exec {exec_id} is not running")
        if session is None:
            raise NotFoundError(f"No such exec instance: {exec_id}")
        if session.status is not None:
            raise ConflictError(f"exec {exec_id} is not running")
        return session

    def _end(self, exec_id: str, session: ExecSession, status: ExitStatus) -> None:
        session.status = status
        os.close(session.pidfd)
        streams = session.streams
        streams.drain()
        if streams.is_silent:
            streams.finish()
        else:
            self._reactor.call_later(_LINGER_S, streams.finish)
        self._announce({"event": "exec_exited", "exec_id": exec_id, "exit": encode_exit(status)})
        self._forget_old()

    def _forget_old(self) -> None:
        for exec_id in [*self._earlier][: max(len(self._earlier) - _KEPT_EXITS, 0)]:
            del self._earlier[exec_id]
        ended = [key for key, item in self._sessions.items() if item.status is not None]
        for exec_id in ended[:-_KEPT_EXITS]:
            if self._sessions[exec_id].streams.is_flushed:
                del self._sessions[exec_id]


def _wanted(request: ExecRequest) -> frozenset[int]:
    if request.terminal:
        return frozenset({STDOUT})
    wanted = {STDOUT: request.stdout, STDERR: request.stderr}
    return frozenset(stream for stream, want in wanted.items() if want)
