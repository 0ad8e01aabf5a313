"""The standard streams of one process: output to the log and to clients, input from clients.

Output is read in large chunks and given to the log first, then to each client. Nothing is lost for
a client that is attached: while one has a high backlog the program's pipes are left alone, so
the program itself waits. Input is read from clients no faster than the program takes it.

Order at the end: `drain` takes what is in the pipes once the process is dead, `finish` closes
everything. A pipe that some process outside still holds open is closed on it by `finish`.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from errno import EIO
from fcntl import F_SETPIPE_SZ, fcntl
from socket import socket
from typing import Final, NamedTuple

from kedge.lib.jsontypes import JsonObject
from kedge.linux import malloc, pty
from kedge.shim.clients import BACKLOG_HIGH, Client
from kedge.shim.logsink import LogSink
from kedge.shim.luggage import Luggage
from kedge.shim.messages import STDERR, STDOUT
from kedge.shim.reactor import READABLE, WRITABLE, Reactor

# Measured: smaller costs calls, larger falls out of the processor's cache.
CHUNK_SIZE: Final = 128 * 1024
_PIPE_SIZE: Final = 256 * 1024
_END_OF_TRANSMISSION: Final = b"\x04"
_PTY_RETRY_S: Final = 0.1
_FLOOD_SIZE: Final = CHUNK_SIZE // 2
_TRIM_S: Final = 5.0
_TERMINAL_ROUNDS: Final = 256
_PIPE_ROUNDS: Final = _PIPE_SIZE // CHUNK_SIZE + 2


class Pipes(NamedTuple):
    """The shim's ends of a process's standard streams and the process's own; -1 for none."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    theirs: tuple[int, int, int] = (-1, -1, -1)

    def close_theirs(self) -> None:
        """Close the process's ends here, now that the process has them."""
        for fd in self.theirs:
            if fd >= 0:
                os.close(fd)

    def close_all(self) -> None:
        """Close every end; there is no process."""
        self.close_theirs()
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)


def open_pipes(*, stdin: bool, stdout: bool, stderr: bool) -> Pipes:
    """Make the pipes a process without a terminal needs."""
    in_theirs, in_ours = os.pipe2(os.O_CLOEXEC) if stdin else (-1, -1)
    out_ours, out_theirs = _output_pipe() if stdout else (-1, -1)
    err_ours, err_theirs = _output_pipe() if stderr else (-1, -1)
    return Pipes(in_ours, out_ours, err_ours, (in_theirs, out_theirs, err_theirs))


def _output_pipe() -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl(ends[0], F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        # The user's share of pipe memory is used up: 64 KiB also works.
        return ends
    return ends


class Streams:
    """Pumps one process's streams for as long as the process and its clients live."""

    def __init__(self, reactor: Reactor, *, log: LogSink | None, close_stdin_once: bool) -> None:
        """Prepare without descriptors; `open_pipes` or `open_terminal` give them.

        Args:
            reactor: Where to wait.
            log: Where output is kept, besides going to clients.
            close_stdin_once: Close the input when the first client that feeds it is done.
        """
        self._reactor = reactor
        self._log = log
        if log is not None:
            log.when_relieved(self._relieve)
        self._close_stdin_once = close_stdin_once
        self._sources: dict[int, int] = {}
        self._clients: list[Client] = []
        self._stdin = -1
        self._input: deque[memoryview] = deque()
        self._input_ends = False
        self._held: list[Client] = []
        self._terminal = -1
        self._paused = False
        self._draining = False
        self._finished = False
        self._trims = False
        self.on_silent: Callable[[], None] = _nothing
        """Called when all output has come to its end."""
        self.on_hang_up: Callable[[], None] = _nothing
        """Called when a client has gone, for whatever reason."""

    def use_pipes(self, pipes: Pipes) -> None:
        """Take over the shim's ends of ``pipes`` and start to read."""
        self._stdin = pipes.stdin
        for fd, stream in ((pipes.stdout, STDOUT), (pipes.stderr, STDERR)):
            if fd >= 0:
                self._add_source(fd, stream)
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)

    def use_terminal(self, master_fd: int, *, feeds: bool) -> None:
        """Take over the terminal's master; reading starts with `start_terminal`.

        Args:
            master_fd: The master side.
            feeds: Whether clients' input is typed into it.
        """
        self._terminal = master_fd
        # A second descriptor, so that waiting to read and waiting to write stay apart.
        self._stdin = os.dup(master_fd) if feeds else -1
        os.set_blocking(master_fd, False)

    def start_terminal(self) -> None:
        """Read from the terminal: its slave is open now, so end of file means the end."""
        if self._terminal >= 0 and self._terminal not in self._sources:
            self._add_source(self._terminal, STDOUT)

    @property
    def is_silent(self) -> bool:
        """Whether all output has come to its end."""
        return not self._sources

    @property
    def is_flushed(self) -> bool:
        """Whether no client has anything left to get, which is only so after `finish`."""
        return not self._clients

    @property
    def can_rest(self) -> bool:
        """Whether nothing is on its way anywhere, so that another process can go on with this."""
        busy = (self._clients, self._input, self._held, self._paused, self._finished, self._trims)
        return not any(busy)

    def try_pack(self, luggage: Luggage) -> JsonObject | None:
        """Return what `resume` goes on with in another process; None where it cannot.

        A terminal's master is packed by the task.
        """
        log = {} if self._log is None else self._log.try_pack(luggage)
        if log is None or not self.can_rest:
            return None
        luggage.keep("stdin", self._stdin)
        for fd, stream in self._sources.items():
            luggage.wait_for("terminal" if fd == self._terminal else f"output {stream}", fd)
        return log

    def resume(self, fds: Mapping[str, int]) -> None:
        """Go on with the descriptors of streams that were packed."""
        self._stdin = fds.get("stdin", -1)
        self._terminal = fds.get("terminal", -1)
        for stream in (STDOUT, STDERR):
            if f"output {stream}" in fds:
                self._add_source(fds[f"output {stream}"], stream)
        self.start_terminal()

    @property
    def is_paused(self) -> bool:
        """Whether a slow client holds the program back."""
        return self._paused

    @property
    def takes_input(self) -> bool:
        """Whether the process's input is open, as far as is known."""
        return self._stdin >= 0

    def resize(self, *, rows: int, columns: int) -> None:
        """Set the terminal's size; without a terminal, or after its end, nothing happens."""
        if self._terminal >= 0:
            pty.set_window_size(self._terminal, rows=rows, columns=columns)

    def attach(self, connection: socket, streams: frozenset[int], *, feeds: bool) -> None:
        """Add a client that gets every byte from now on; its connection ends with the output."""
        client = Client(
            self._reactor,
            connection,
            streams,
            framed=self._terminal < 0,
            feeds=feeds and self._stdin >= 0,
        )
        client.on_input = self._take_input
        client.on_input_end = self._take_end
        client.on_relief = self._relieve
        client.on_gone = self._lose
        self._clients.append(client)
        if self._finished:
            client.finish()

    def drain(self) -> None:
        """Take what is in the pipes now, without waiting and without asking about backlogs."""
        self._draining = True
        for fd in tuple(self._sources):
            # A full pipe is some chunks, and one more round sees its end; a terminal gives a page
            # at a time. Whoever still goes on writing is no process of this container.
            for _ in range(_TERMINAL_ROUNDS if fd == self._terminal else _PIPE_ROUNDS):
                if not self._read(fd):
                    break

    def finish(self) -> None:
        """Close the log and every descriptor; clients get what is queued, then end of file."""
        self._finished = True
        for fd in tuple(self._sources):
            self._end_source(fd)
        self._close_stdin()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self._log is not None:
            self._log.close()
            self._log = None
        for client in tuple(self._clients):
            client.finish()

    def drop_clients(self) -> None:
        """Close every client's connection, whatever it still had to get."""
        for client in tuple(self._clients):
            client.drop()

    # -- output

    def _add_source(self, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        self._sources[fd] = stream
        if not self._paused:
            self._reactor.watch(fd, READABLE, lambda _events: self._pump(fd))

    def _pump(self, fd: int) -> None:
        self._read(fd)

    def _read(self, fd: int) -> bool:
        """Move one chunk; return whether there may be more right now."""
        if fd not in self._sources:
            return False
        try:
            chunk = os.read(fd, CHUNK_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != EIO:
                raise
            # Nobody has the terminal open. Somebody may open it again while the process lives.
            if self._draining:
                self._end_source(fd)
            else:
                self._rest(fd)
            return False
        if not chunk:
            self._end_source(fd)
            return False
        if len(chunk) >= _FLOOD_SIZE and not self._trims:
            # Buffers of a flood are kept for its next chunk, but not for ever.
            self._trims = True
            self._reactor.call_later(_TRIM_S, self._trim)
        self._deliver(self._sources[fd], chunk)
        return True

    def _trim(self) -> None:
        self._trims = False
        malloc.trim()

    def _deliver(self, stream: int, chunk: bytes) -> None:
        if self._log is not None:
            self._log.write(stream, chunk)
        for client in tuple(self._clients):
            client.send(stream, chunk)
        if not self._paused and self._is_backed_up():
            self._paused = True
            for fd in self._sources:
                self._reactor.forget(fd)

    def _is_backed_up(self) -> bool:
        if self._log is not None and self._log.is_backed_up:
            return True
        return any(client.backlog_bytes > BACKLOG_HIGH for client in self._clients)

    def _relieve(self) -> None:
        if self._paused and not self._is_backed_up():
            self._paused = False
            for fd in self._sources:
                self._watch_source(fd)

    def _rest(self, fd: int) -> None:
        self._reactor.forget(fd)
        self._reactor.call_later(_PTY_RETRY_S, lambda: self._watch_source(fd))

    def _watch_source(self, fd: int) -> None:
        if fd in self._sources and not self._paused and not self._reactor.is_watched(fd):
            self._reactor.watch(fd, READABLE, lambda _events: self._pump(fd))

    def _end_source(self, fd: int) -> None:
        self._reactor.forget(fd)
        del self._sources[fd]
        if fd != self._terminal:
            os.close(fd)
        if not self._sources:
            self.on_silent()

    def _lose(self, client: Client) -> None:
        self._clients.remove(client)
        if client in self._held:
            self._held.remove(client)
        # Who hangs up a pipe has ended it; who leaves a terminal has only detached.
        if client.has_fed and self._terminal < 0:
            self._take_end(client)
        self.on_hang_up()

    # -- input

    def _take_input(self, client: Client, chunk: bytes) -> None:
        if self._stdin < 0:
            return
        self._input.append(memoryview(chunk))
        self._feed()
        if self._input and client not in self._held:
            self._held.append(client)
            client.hold_input()

    def _take_end(self, _client: Client) -> None:
        if self._close_stdin_once and self._stdin >= 0:
            self._input_ends = True
            self._feed()

    def _feed(self) -> None:
        """Write what waits; close the input when it was the last and the end was said."""
        try:
            while self._input:
                sent = os.write(self._stdin, self._input[0])
                if sent < len(self._input[0]):
                    self._input[0] = self._input[0][sent:]
                else:
                    self._input.popleft()
        except BlockingIOError:
            if not self._reactor.is_watched(self._stdin):
                self._reactor.watch(self._stdin, WRITABLE, lambda _events: self._feed())
            return
        except OSError:
            # The program closed its input; what it does not want is thrown away.
            self._close_stdin()
            return
        self._reactor.forget(self._stdin)
        if self._input_ends:
            self._end_input()
        self._release(self._held)

    def _end_input(self) -> None:
        if self._terminal >= 0:
            # A terminal has no end of file: the line discipline makes one of this character.
            self._input_ends = False
            self._input.append(memoryview(_END_OF_TRANSMISSION))
            self._feed()
        else:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._reactor.forget(self._stdin)
            os.close(self._stdin)
            self._stdin = -1
        self._input.clear()
        self._release(self._held)

    def _release(self, held: Sequence[Client]) -> None:
        waiting = tuple(held)
        self._held.clear()
        for client in waiting:
            client.release_input()


def _nothing() -> None:
    pass
