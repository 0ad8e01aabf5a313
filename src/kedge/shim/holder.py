"""The process that a container's init belongs to: all that is left of a shim while nothing happens.

A forked interpreter copies every page it writes to, and counting references writes to nearly every
object it looks at. So the holder does next to nothing but wait. What a shim does is done by its
*worker*, a child. When nothing has happened for a while, the worker packs what it knows, hands it
over with every descriptor, and ends, and its memory with it. The holder waits on the descriptors
in its place, and as soon as one has something, forks a worker that goes on.

- **Descriptors** belong to the worker or to the holder, never to both: a connection that one of
  them closes is closed.
- **Death**: when the holder dies, the kernel kills worker and init. When the worker ends without
  having handed over, so does the holder. A shim lives and dies as one.
- **Children**: init is the holder's, a subreaper's. Its worker sees it end by a pidfd, and asks for
  it to be reaped; so no exit is lost between two workers. Whatever else dies here is an orphan.
"""

import _socket
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from socket import send_fds, socket
from typing import Final, NamedTuple, TypeAlias

from kedge.errdefs import SystemFailureError
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import prctl
from kedge.shim.framing import close_all

if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

SHIM_NAME: Final = b"kedge-shim"
_BROKEN: Final = 70
_RETRY_S: Final = 0.1
# The state must fit into one packet; one that does not stays with its worker.
_STATE_MAX: Final = 64 * 1024
_FDS_MAX: Final = 64
_PACKET: Final = _STATE_MAX + 2
_ANCILLARY: Final = _socket.CMSG_SPACE(_FDS_MAX * 4)
# What a worker says.
_TAKEN: Final = b"t"
_INIT: Final = b"i"
_REAP: Final = b"r"
_REST: Final = b"s"


class Rest(NamedTuple):
    """What a worker leaves to the next one."""

    state: bytes
    fds: tuple[int, ...]
    waited: int
    """How many of ``fds``, from the first, wake the next worker when they have something."""


class HolderLine:
    """A worker's connection to its holder."""

    __slots__ = ("_line", "pid")

    def __init__(self, line: socket, pid: int) -> None:
        self._line = line
        self.pid = pid
        """The holder's process id, which is the shim's for all others."""

    def say_taken(self) -> None:
        """Say that there is a container to make."""
        self._line.send(_TAKEN)

    def say_init(self, pid: int, *, orphans: bool) -> None:
        """Say which of the holder's children is the init; before that, none is reaped.

        Args:
            pid: Its process id.
            orphans: Whether other processes of the container may come to the holder.
        """
        self._line.send(_INIT + bytes([orphans]) + pid.to_bytes(4, "big"))

    def reap_init(self) -> int:
        """Return init's wait status once it is dead.

        Raises:
            SystemFailureError: It was reaped before.
        """
        self._line.send(_REAP)
        status = self._line.recv(8)
        if not status:
            raise SystemFailureError("the container's first process was reaped already")
        return int.from_bytes(status, "big")

    def try_rest(self, state: bytes, waited: Sequence[int], kept: Sequence[int]) -> bool:
        """Hand everything over; True means that this process must end, and touch nothing more."""
        fds = [*waited, *kept]
        if len(state) > _STATE_MAX or len(fds) > _FDS_MAX:
            return False
        send_fds(self._line, [_REST + bytes([len(waited)]) + state], fds)
        return True


Begin: TypeAlias = Callable[[HolderLine], int]
Resume: TypeAlias = Callable[[HolderLine, Rest], int]


class Holder:
    """This process from now on.

    What it calls is chosen by measuring how many pages that writes to: `_socket` in place of
    `socket`, no ``with`` and no helper where a line does.
    """

    __slots__ = ("_adopts", "_begin", "_init", "_resume", "_worker")

    def __init__(self, begin: Begin, resume: Resume) -> None:
        """Prepare.

        Args:
            begin: What the first worker does; returns the exit code of the shim.
            resume: What later ones do.
        """
        self._begin = begin
        self._resume = resume
        self._adopts = False
        self._init = 0
        self._worker = 0

    def run(self, given_away: Sequence[int]) -> int:
        """Look after the container; return the exit code.

        Args:
            given_away: Descriptors that are the first worker's.
        """
        # The spawner has its children reaped by the kernel; here their status counts.
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        line = self._fork(self._begin)
        close_all(given_away)
        while True:
            rest = self._attend(line)
            line.close()
            _, status = os.waitpid(self._worker, 0)
            if rest is None:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else _BROKEN
            if self._adopts:
                self._reap_orphans()
            # An end of file, too, is something to do.
            select.select(rest.fds[: rest.waited], (), ())
            line = self._fork_next(rest)
            close_all(rest.fds)

    def _fork_next(self, rest: Rest) -> _socket.socket:
        while True:
            try:
                return self._fork(lambda line: self._resume(line, rest))
            except OSError:
                # Nothing is lost meanwhile, and there may be a process to be had later.
                time.sleep(_RETRY_S)

    def _fork(self, work: Begin) -> _socket.socket:
        own = os.getpid()
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()  # noqa: TID251 - what this process is for
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid:
            theirs.close()
            self._worker = pid
            return ours
        code = _BROKEN
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ours.close()
            prctl.set_parent_death_signal(signal.SIGKILL)
            # The holder may have died before the kernel was asked to tell.
            if os.getppid() == own:
                code = work(HolderLine(socket(fileno=theirs.detach()), own))
        finally:
            os._exit(code)

    def _attend(self, line: _socket.socket) -> Rest | None:
        """Serve the worker until it rests; None when it has ended."""
        while True:
            data, ancillary, _, _ = line.recvmsg(_PACKET, _ANCILLARY, _socket.MSG_CMSG_CLOEXEC)
            word = data[:1]
            if not word:
                return None
            if word == _REST:
                fds = [fd for _, _, given in ancillary for fd in memoryview(given).cast("i")]
                return Rest(data[2:], tuple(fds), data[1])
            if word == _INIT:
                self._init = int.from_bytes(data[2:], "big")
                if data[1]:
                    self._adopts = True
                    _signal.signal(_signal.SIGCHLD, self._reap_orphans)
                    self._reap_orphans()
            elif word == _REAP:
                line.send(self._reap_init())
            else:
                name_process(SHIM_NAME)

    def _reap_init(self) -> bytes:
        pid, self._init = self._init, 0
        if not pid:
            return b""
        _, status = os.waitpid(pid, 0)
        if self._adopts:
            self._reap_orphans()
        return status.to_bytes(4, "big")

    def _reap_orphans(self, *_signal: object) -> None:
        """Take what has died here and is neither init nor worker; called by the signal."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            # An orphan that waits behind these is taken once they are.
            if dead is None or dead.si_pid in (self._init, self._worker):
                return
            os.waitpid(dead.si_pid, 0)


def name_process(name: bytes) -> None:
    """Show this process under ``name``; cheaper than `prctl`, which goes through `ctypes`."""
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, name)
    os.close(fd)
