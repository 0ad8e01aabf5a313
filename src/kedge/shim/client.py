"""The engine's view of one container's shim. asyncio; everything else about it is in the shim.

A `Shim` is made by `kedge.shim.spawner_client.Spawner.create` for a new container, or by
`Shim.connect` for one that outlived the engine. Every call may be cancelled at any time.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import Self, TypeAlias, TypeVar

from kedge.errdefs import ConflictError, KedgeError, UnavailableError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import fields
from kedge.shim.exits import load_exit
from kedge.shim.framing import Message, close_all
from kedge.shim.messages import (
    SOCKET_NAME,
    CreatedInfo,
    CreateRequest,
    ExecRequest,
    ExitStatus,
    StartedInfo,
    decode_failure,
    encode_create,
    encode_exec,
    integer,
    parse_exit,
    part,
    text,
)
from kedge.shim.orphans import killed_with_shim, reap_orphan
from kedge.shim.protocol import explain_misfit
from kedge.shim.rpc import RpcConnection
from kedge.shim.stranger import Stranger

T = TypeVar("T")
_Told: TypeAlias = Callable[[], None]


class NoShimError(UnavailableError):
    """The connection ended before a shim said its first word, so nothing has happened."""


class Exec:
    """One exec session; it belongs to its shim and ends with it."""

    def __init__(self, shim: "Shim", exec_id: str, stream: socket.socket | None) -> None:
        self._shim = shim
        self.exec_id = exec_id
        self.pid = 0
        self.stream = stream
        """What `Shim.attach` returns, for this process; None when detached. The caller's."""
        self.exit: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()

    async def wait(self) -> ExitStatus:
        """Return how the process ended; its output is in the stream by then."""
        return await asyncio.shield(self.exit)

    async def resize(self, width: int, height: int) -> None:
        """Set the size of its terminal in characters."""
        await self._shim.call(
            "exec_resize", {"exec_id": self.exec_id, "width": width, "height": height}
        )

    async def kill(self, signum: int) -> None:
        """Send ``signum`` to the process."""
        await self._shim.call("exec_kill", {"exec_id": self.exec_id, "signal": signum})


class Shim:
    """A connection to the process that owns one container."""

    def __init__(
        self, peer: socket.socket, *, container_id: str, run_dir: str, cgroup: str
    ) -> None:
        """Serve ``peer``, on which the shim is about to introduce itself."""
        loop = asyncio.get_running_loop()
        self.container_id = container_id
        self.run_dir = run_dir
        self.cgroup_path = cgroup
        self.pid = 0
        """The shim's own process id."""
        self.state = ""
        """What the shim said when it was connected: created, running, paused, exited ..."""
        self.started: StartedInfo | None = None
        self.execs: dict[str, Exec] = {}
        """Sessions by id, those included that an earlier engine began."""
        self.netns_fd = -1
        self.rtnl_fd = -1
        self.name_fds: tuple[int, ...] = ()
        """Where asked for: the name server's UDP and TCP sockets, and a netfilter socket."""
        self.on_oom: _Told = _nothing
        """Called when the container runs out of memory, after `watch_memory`."""
        self.on_log_gap: Callable[[int, str], None] = lambda _missing, _reason: None
        """Called when output is not kept, with 0; and with how much of it once it is over."""
        self._hello: asyncio.Future[None] = loop.create_future()
        self._created: asyncio.Future[CreatedInfo] = loop.create_future()
        self._exit: asyncio.Future[ExitStatus] = loop.create_future()
        self._stranger: Stranger | None = None
        self._funeral: asyncio.Task[None] | None = None
        self._burial: asyncio.Task[None] | None = None
        self._leaving = False
        self._over = False
        self._rpc = RpcConnection(peer, self._take_event, f"the shim of container {container_id}")
        self._rpc.on_lost = self._lose

    @classmethod
    async def connect(cls, run_dir: str) -> Self:
        """Adopt the container whose run directory this is.

        A shim of a version this one does not go together with is adopted, too: see `refusal`.

        Raises:
            UnavailableError: No shim answers there; `kedge.shim.orphans.reap_orphan` is next.
        """
        peer = await _dial(run_dir)
        shim = cls(peer, container_id=os.path.basename(run_dir), run_dir=run_dir, cgroup="")
        try:
            await shim.wait_hello()
        except BaseException:
            shim.close()
            raise
        return shim

    @property
    def is_connected(self) -> bool:
        """Whether the shim is there, as far as is known."""
        return self._rpc.is_open

    @property
    def refusal(self) -> str:
        """Why all but `kill`, `wait` and `shutdown` raise a `ConflictError`; empty as a rule."""
        return self._stranger.refusal if self._stranger is not None else ""

    def ask(self, request: CreateRequest) -> None:
        """Say what to make, as the first words on a fresh connection."""
        self._rpc.send(encode_create(request))

    async def wait_hello(self) -> None:
        """Return when the shim has introduced itself and, where asked, handed over its netns.

        Raises:
            NoShimError: It died before it did anything at all, or never lived.
            KedgeError: It could not even begin.
        """
        await asyncio.shield(self._hello)

    async def wait_created(self) -> CreatedInfo:
        """Return when the container's init waits to be started.

        Raises:
            KedgeError: Why it cannot be created; nothing of it is left.
        """
        return await asyncio.shield(self._created)

    async def start(self) -> StartedInfo:
        """Return when the user's program runs.

        Raises:
            NotFoundError: There is no such program, in Docker's words.
            ForbiddenError: It may not be executed.
        """
        answer = await self.call("start")
        self.started = StartedInfo(integer(answer, "pid"), integer(answer, "started_at_ns"))
        return self.started

    async def attach(
        self, *, stdin: bool = False, stdout: bool = False, stderr: bool = False
    ) -> socket.socket:
        """Return a stream of the container's output from now on, and into its input.

        Frames of stdcopy come out, or raw bytes of a terminal; raw bytes go in. Shutting down the
        writing side ends the input. End of file means the output ended. The caller closes it.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        try:
            await self.attach_to(theirs, stdin=stdin, stdout=stdout, stderr=stderr)
        except BaseException:
            ours.close()
            raise
        return ours

    async def attach_to(
        self, peer: socket.socket, *, stdin: bool, stdout: bool, stderr: bool
    ) -> int:
        """Attach the other end of ``peer``, which is given away; see `attach`.

        Returns:
            When its stream begins, by the log's clock: what was written before is in the log only.
        """
        answer = await self.call(
            "attach", {"stdin": stdin, "stdout": stdout, "stderr": stderr}, (peer.detach(),)
        )
        # A shim that is older than the engine does not say.
        return integer(answer, "begin_ns") if "begin_ns" in answer else time.time_ns()

    async def exec(self, request: ExecRequest) -> Exec:
        """Run one more process in the container; return when its program runs.

        Raises:
            NotFoundError: There is no such program, in Docker's words.
            ConflictError: The container does not run or is paused.
        """
        if request.exec_id in self.execs:
            raise ConflictError(f"exec id {request.exec_id} is already in use")
        attached = request.stdin or request.stdout or request.stderr
        ours: socket.socket | None = None
        fds: tuple[int, ...] = ()
        if attached:
            ours, theirs = socket.socketpair()
            ours.settimeout(0)
            fds = (theirs.detach(),)
        session = Exec(self, request.exec_id, ours)
        # Before the request: the exit may arrive together with the answer.
        self.execs[request.exec_id] = session
        try:
            answer = await self.call("exec", encode_exec(request), fds)
        except BaseException:
            self.execs.pop(request.exec_id, None)
            if ours is not None:
                ours.close()
            raise
        session.pid = integer(answer, "pid")
        return session

    async def resize(self, width: int, height: int) -> None:
        """Set the size of the container's terminal in characters."""
        await self.call("resize", {"width": width, "height": height})

    async def kill(self, signum: int, *, all: bool = False) -> None:  # noqa: A002 - Docker's word
        """Send ``signum`` to the container's init, or to all its processes.

        Raises:
            ConflictError: It does not run.
        """
        await self.call("kill", {"signal": int(signum), "all": all})

    async def pause(self) -> None:
        """Freeze every process of the container."""
        await self.call("pause")

    async def resume(self) -> None:
        """Let a paused container run again."""
        await self.call("resume")

    async def stats(self) -> JsonObject:
        """Return the fields of `kedge.runtime.cgroups.CgroupStats`."""
        return await self.call("stats")

    async def pids(self) -> list[int]:
        """Return the host's process ids of all processes of the container."""
        answer = await self.call("pids")
        return list(fields.read_list(answer, "pids", "answer", _read_pid))

    async def update(self, resources: JsonObject) -> None:
        """Change the limits that an OCI ``linux.resources`` object mentions."""
        await self.call("update", {"resources": resources})

    async def wait(self) -> ExitStatus:
        """Return how the container ended; the log is complete by then. Many may wait.

        When the shim was killed, and the container with it, that is a status too: 137.
        """
        return await asyncio.shield(self._exit)

    async def shutdown(self) -> None:
        """Remove the container's cgroup and end the shim: its exit is recorded.

        A container that was created and not started is killed. A shim that is gone is fine.

        Raises:
            ConflictError: The container runs.
        """
        if self._over:
            return
        self._leaving = True
        try:
            await self.call("shutdown")
        except UnavailableError:
            # It died before it could clean up.
            await asyncio.to_thread(reap_orphan, self.run_dir, self.cgroup_path)
        except KedgeError:
            self._leaving = False
            raise
        self.close()

    async def open_netns(self) -> tuple[int, int]:
        """Return the container's network namespace and a route socket in it; the caller owns both.

        Raises:
            ConflictError: It has none of its own.
        """
        answer = await self._exchange("netns")
        namespace, route = answer.fds
        return namespace, route

    async def watch_memory(self) -> None:
        """Have `on_oom` called from now on; asking again changes nothing.

        Raises:
            KedgeError: It does not run, or host or shim know no such watch.
        """
        await self.call("watch_memory")

    async def open_names(self) -> tuple[int, int]:
        """Return the name server's UDP and TCP sockets; the caller owns them.

        Raises:
            ConflictError: The container was made without.
        """
        answer = await self._exchange("names")
        datagrams, streams = answer.fds
        return datagrams, streams

    def close_netns(self) -> None:
        """Close the descriptors of the network namespace: it is configured."""
        close_all(fd for fd in (self.netns_fd, self.rtnl_fd, *self.name_fds) if fd >= 0)
        self.netns_fd = self.rtnl_fd = -1
        self.name_fds = ()

    def close(self) -> None:
        """Hang up without a word; a container that runs goes on, one not started ends."""
        self._over = True
        if self._funeral is not None:
            self._funeral.cancel()
        if self._stranger is not None:
            self._stranger.close()
        self._rpc.close()
        self.close_netns()

    async def call(
        self, operation: str, args: JsonObject | None = None, fds: tuple[int, ...] = ()
    ) -> JsonObject:
        """Send one request of the protocol and return its result; ``fds`` are given away."""
        if self._stranger is not None:
            close_all(fds)
            return await self._stranger.call(operation, args or {})
        return await self._rpc.request(operation, args, fds)

    async def _exchange(self, operation: str) -> Message:
        if self._stranger is not None:
            raise ConflictError(self._stranger.refusal)
        return await self._rpc.exchange(operation)

    def _take_event(self, message: Message) -> None:
        body, kind = message.body, message.body.get("event")
        if self._stranger is not None:
            # What it means by that is its own affair.
            close_all(message.fds)
            return
        if kind == "hello":
            if message.fds:
                self.netns_fd, self.rtnl_fd, *names = message.fds
                self.name_fds = tuple(names)
            self._take_hello(body)
            return
        close_all(message.fds)
        if kind == "created":
            _resolve(self._created, _read_created(body))
        elif kind == "create_failed":
            self._over = True
            failure = decode_failure(part(body, "error"))
            _fail(self._hello, failure)
            _fail(self._created, failure)
        elif kind == "exited":
            _resolve(self._exit, parse_exit(part(body, "exit")))
        elif kind == "oom":
            self.on_oom()
        elif kind == "log_gap":
            self.on_log_gap(integer(body, "missing_bytes"), text(body, "reason"))
        elif kind == "exec_exited":
            self._end_exec(text(body, "exec_id"), parse_exit(part(body, "exit")))

    def _take_hello(self, body: JsonObject) -> None:
        self.container_id = text(body, "id")
        self.cgroup_path = text(body, "cgroup_path")
        self.pid = integer(body, "shim_pid")
        self.state = text(body, "state")
        if refusal := explain_misfit(body):
            self._meet_stranger(body, refusal)
            return
        if integer(body, "pid"):
            _resolve(self._created, _read_created(body))
        if integer(body, "started_at_ns"):
            self.started = StartedInfo(integer(body, "pid"), integer(body, "started_at_ns"))
        if body.get("exit") is not None:
            _resolve(self._exit, parse_exit(part(body, "exit")))
        for exec_id in part(body, "execs"):
            known = part(part(body, "execs"), exec_id)
            session = self.execs.setdefault(exec_id, Exec(self, exec_id, None))
            session.pid = integer(known, "pid")
            if known.get("exit") is not None:
                _resolve(session.exit, parse_exit(part(known, "exit")))
        _resolve(self._hello, None)

    def _meet_stranger(self, body: JsonObject, refusal: str) -> None:
        """Make do with what every version says."""
        pid, started_at_ns = integer(body, "pid"), integer(body, "started_at_ns")
        if started_at_ns:
            self.started = StartedInfo(pid, started_at_ns)
        self._stranger = Stranger(
            refusal, run_dir=self.run_dir, cgroup=self.cgroup_path, shim_pid=self.pid, pid=pid
        )
        self._funeral = asyncio.get_running_loop().create_task(self._await_stranger(self._stranger))
        _resolve(self._hello, None)

    async def _await_stranger(self, stranger: Stranger) -> None:
        status = await stranger.wait()
        self.state = "exited"
        _resolve(self._exit, status)

    def _end_exec(self, exec_id: str, status: ExitStatus) -> None:
        session = self.execs.pop(exec_id, None)
        if session is not None:
            _resolve(session.exit, status)

    def _lose(self, error: KedgeError) -> None:
        """The shim is gone, or we are: settle what is still open."""
        greeted = self._hello.done()
        _fail(self._hello, NoShimError(f"container {self.container_id}: no shim answered"))
        _fail(self._created, error)
        # A shim that never said hello has done nothing, and another may be about to.
        if not greeted or self._leaving or self._over or self._exit.done():
            self._settle(error)
        else:
            self._burial = asyncio.get_running_loop().create_task(self._bury(error))

    async def _bury(self, error: KedgeError) -> None:
        """Find out how the container of a dead shim ended, and remove what it left."""
        status = None
        with contextlib.suppress(KedgeError, OSError):
            status = await asyncio.to_thread(reap_orphan, self.run_dir, self.cgroup_path)
        _resolve(self._exit, status or load_exit(self.run_dir) or killed_with_shim())
        self._settle(error)

    def _settle(self, error: KedgeError) -> None:
        _fail(self._exit, error)
        for session in self.execs.values():
            _fail(session.exit, error)
        self.execs.clear()


async def _dial(run_dir: str) -> socket.socket:
    """Return a connection to the shim's socket, reached through its directory's descriptor."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    peer.settimeout(0)
    try:
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Socket addresses end at 107 bytes; this one is always short.
            peer.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
        finally:
            os.close(directory)
    except OSError as error:
        peer.close()
        raise UnavailableError(f"no shim answers in {run_dir}: {error.strerror}") from error
    return peer


def _resolve(waiting: asyncio.Future[T], value: T) -> None:
    if not waiting.done():
        waiting.set_result(value)


def _fail(waiting: asyncio.Future[T], error: KedgeError) -> None:
    if not waiting.done():
        waiting.set_exception(error)
        # Nobody need be interested; asyncio complains about that otherwise.
        waiting.exception()


def _nothing() -> None:
    pass


def _read_created(body: JsonObject) -> CreatedInfo:
    return CreatedInfo(
        pid=integer(body, "pid"),
        created_mountpoints=fields.read_list(
            body, "created_mountpoints", "message", fields.read_string_item
        ),
    )


def _read_pid(item: Json, path: str) -> int:
    if not isinstance(item, int):
        raise UnavailableError(f"{path} is not a process id")
    return item
