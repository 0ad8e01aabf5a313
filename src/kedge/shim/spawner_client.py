"""The engine's end of the spawner: starts it, gives it work, starts another when it dies. asyncio.

A request is one datagram with the shim's end of a fresh socket pair; what to make goes into our end
of the pair right behind it. The kernel closes an end that nobody took, so a spawner that died with
a request unread, or before it forked, is seen as an end of file before the shim's first
word; the request had no effect then, and is repeated with a new spawner.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from fcntl import F_DUPFD_CLOEXEC, fcntl
from socket import AF_UNIX, SOCK_SEQPACKET, send_fds, socket, socketpair
from typing import Final, TypeAlias

from kedge.errdefs import UnavailableError
from kedge.shim.client import NoShimError, Shim
from kedge.shim.messages import CreateRequest, one_line
from kedge.shim.rootview import ViewRequest
from kedge.shim.rootview_client import RootView

_FILE_LIMIT: Final = resource.getrlimit(resource.RLIMIT_NOFILE)
_ATTEMPTS: Final = 3
# A spawner that lives shorter than this is not restarted at once, only on demand or after a pause.
_HEALTHY_S: Final = 5.0
_RESTART_DELAY_S: Final = 1.0
_LOG_NAME: Final = "spawner.log"
_CHILD_FD: Final = 3
_ABOVE_CHILD_FDS: Final = 10
# src/ of this very installation: -I and -S keep everything else off the path.
_SOURCE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM: Final = (
    "import sys; sys.path.insert(0, {source!r}); from kedge.shim.spawner import main; main()"
)

OnExit: TypeAlias = Callable[["_Process"], None]


class Spawner:
    """Makes shims; one per engine."""

    def __init__(self, *, run_dir: str, program: str = PROGRAM) -> None:
        """Start nothing yet.

        Args:
            run_dir: Existing directory for the spawner's report, should it have to say anything.
            program: The Python statement its interpreter runs; tests give another.
        """
        self._run_dir = run_dir
        self._program = program.format(source=_SOURCE)
        self._closing = False
        self._process: _Process | None = None
        self._unreaped: set[_Process] = set()
        """With those that turned out to be dying before they were reaped."""

    @property
    def pid(self) -> int:
        """The spawner's process id; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the spawner's process unless it runs; it may still be warming up afterwards.

        Raises:
            UnavailableError: The interpreter cannot be started.
        """
        self._ensure_process()

    async def close(self) -> None:
        """End the spawner; the shims stay."""
        self._closing = True
        self._process = None
        for process in list(self._unreaped):
            await process.close()

    async def create(self, request: CreateRequest) -> Shim:
        """Return the shim that now makes the container, with its network namespace if it has one.

        Raises:
            UnavailableError: No spawner or no process to be had.
            KedgeError: The namespace cannot be made.
        """
        for _ in range(_ATTEMPTS):
            shim = await self._try_create(request)
            if shim is not None:
                return shim
        log = os.path.join(self._run_dir, _LOG_NAME)
        raise UnavailableError(
            f"container {request.id}: the spawner dies at once ({_last_line(log)}), see {log}"
        )

    async def _try_create(self, request: CreateRequest) -> Shim | None:
        """Return the shim, or None when the spawner died before there was one."""
        process = self._ensure_process()
        ours, theirs = socketpair()
        shim = Shim(
            ours,
            container_id=request.id,
            run_dir=request.run_dir,
            cgroup=request.cgroup_path,
        )
        try:
            with theirs:
                shim.ask(request)
                await process.send(theirs.fileno())
            await shim.wait_hello()
        except (NoShimError, BrokenPipeError, ConnectionResetError):
            shim.close()
            self._forget(process)
            return None
        except BaseException:
            shim.close()
            raise
        return shim

    async def open_root(self, request: ViewRequest) -> RootView:
        """Return a stopped container's root with its mounts; the caller closes it.

        Raises:
            UnavailableError: No spawner or no process to be had.
            KedgeError: It cannot be mounted.
        """
        for _ in range(_ATTEMPTS):
            process = self._ensure_process()
            ours, theirs = socketpair()
            view = RootView(ours)
            try:
                with theirs:
                    view.ask(request)
                    await process.send(theirs.fileno())
                await view.wait_root()
            except (NoShimError, BrokenPipeError, ConnectionResetError):
                view.close()
                self._forget(process)
            except BaseException:
                view.close()
                raise
            else:
                return view
        raise UnavailableError("cannot mount a file system: the spawner dies at once")

    def _ensure_process(self) -> "_Process":
        if self._closing:
            raise UnavailableError("the engine is shutting down")
        if self._process is None:
            try:
                self._process = _Process(self._program, os.path.join(self._run_dir, _LOG_NAME))
            except OSError as error:
                raise UnavailableError(f"cannot start the spawner: {one_line(error)}") from error
            self._unreaped.add(self._process)
            self._process.on_exit = self._bury
        return self._process

    def _bury(self, process: "_Process") -> None:
        self._unreaped.discard(process)
        self._forget(process)

    def _forget(self, process: "_Process") -> None:
        if self._process is not process:
            return
        self._process = None
        loop = asyncio.get_running_loop()
        delay = 0.0 if loop.time() - process.started_at > _HEALTHY_S else _RESTART_DELAY_S
        loop.call_later(delay, self._restart)

    def _restart(self) -> None:
        try:
            if not self._closing:
                self._ensure_process()
        except UnavailableError:
            # Whoever needs one next tries again and is told.
            return


class _Process:
    """The spawner's process, reaped when it ends."""

    def __init__(self, program: str, log_path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.started_at = self._loop.time()
        self.on_exit: OnExit = _ignore
        self._ended = asyncio.Event()
        self._turn = asyncio.Lock()
        self._socket, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        self._socket.settimeout(0)
        with theirs:
            try:
                self.pid = _spawn(program, log_path, theirs)
                # The engine may raise its own for its many clients; containers inherit this one.
                resource.prlimit(self.pid, resource.RLIMIT_NOFILE, _FILE_LIMIT)
            except BaseException:
                self._socket.close()
                raise
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    async def send(self, fd: int) -> None:
        """Hand over one shim's end of a connection.

        Raises:
            OSError: The spawner is gone.
        """
        async with self._turn:
            while True:
                try:
                    send_fds(self._socket, [b"shim"], [fd])
                except BlockingIOError:
                    await self._wait_writable()
                else:
                    return

    async def close(self) -> None:
        """Let it end, and wait for that."""
        self._socket.close()
        await self._ended.wait()

    async def _wait_writable(self) -> None:
        writable = asyncio.Event()
        self._loop.add_writer(self._socket.fileno(), writable.set)
        try:
            await writable.wait()
        finally:
            self._loop.remove_writer(self._socket.fileno())

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        os.waitpid(self.pid, 0)
        self._socket.close()
        self._ended.set()
        self.on_exit(self)


def _spawn(program: str, log_path: str, engine_end: socket) -> int:
    """Start the interpreter; it has nothing of the engine but ``engine_end``."""
    # Away from the numbers that are about to be taken, in whatever order that happens.
    high = fcntl(engine_end.fileno(), F_DUPFD_CLOEXEC, _ABOVE_CHILD_FDS)
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", program],
            # All of it, so that both sides encode file names alike; -I keeps PYTHON* out.
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log_path, log_flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, high, _CHILD_FD),
            ],
        )
    finally:
        os.close(high)


def _last_line(path: str) -> str:
    """Return what a broken spawner said last."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return log.read().rstrip().rpartition("\n")[2]
    except OSError:
        return "no report"


def _ignore(_process: _Process) -> None:
    pass
