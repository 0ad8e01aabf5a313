"""One container from its creation to the moment the engine has taken note of its end.

The states and what each of them promises are in `kedge.shim.states`. Requests come from
`kedge.shim.control`, processes from a `kedge.shim.task.Task`; everything happens on one reactor.
"""

import os
import signal
from contextlib import suppress
from socket import socket
from typing import Final

from kedge.errdefs import ConflictError, KedgeError, SystemFailureError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.jsontypes import Json, JsonObject
from kedge.shim.control import ControlServer, Reply, Serve, unknown_operation
from kedge.shim.execs import ExecSessions
from kedge.shim.exits import parse_wait_status, store_exit
from kedge.shim.logsink import LogSink, open_sink
from kedge.shim.messages import (
    STDERR,
    STDOUT,
    CreateRequest,
    ExitStatus,
    encode_exit,
    encode_failure,
    flag,
    integer,
    one_line,
    parse_exec,
    part,
    text,
)
from kedge.shim.namesockets import ANY_PORT, NO_NAME_SERVER, NameSockets, open_packet_filter
from kedge.shim.netns import ReadyNetns, open_descriptors
from kedge.shim.protocol import describe_protocol
from kedge.shim.reactor import READABLE, Reactor, Timer
from kedge.shim.states import State
from kedge.shim.streams import Pipes, Streams, open_pipes
from kedge.shim.task import MakeTask, OomAlarm, Task

# With the host's process ids, a pipe may be held by somebody the kill does not reach.
_DRAIN_S: Final = 2.0
_FLUSH_POLL_S: Final = 0.02
_LOST_CHECK_S: Final = 60.0


class Monitor:
    """The shim's one container."""

    def __init__(
        self,
        reactor: Reactor,
        request: CreateRequest,
        make_task: MakeTask,
        netns: ReadyNetns | None,
    ) -> None:
        """Do nothing yet; `run` does it all.

        Args:
            reactor: Where to wait.
            request: What to make.
            make_task: Makes it.
            netns: The network namespace this process is in, where it was prepared.
        """
        self._reactor = reactor
        self._request = request
        self._make_task = make_task
        self._netns = netns
        self._host_netns = -1
        self._names: NameSockets | None = None
        self._state = State.CREATING
        self._task: Task | None = None
        self._streams: Streams | None = None
        self._started_at_ns = 0
        self._status: ExitStatus | None = None
        self._concluded = False
        self._leaving = False
        self._lost_check: Timer | None = None
        self._alarm: OomAlarm | None = None
        self._control = ControlServer(reactor, self._serve, self._describe)
        self._control.on_alone = self._leave_unless_needed
        self._execs = ExecSessions(reactor, self._control.broadcast)
        self._operations: dict[str, Serve] = {
            "start": self._start,
            "attach": self._attach,
            "exec": self._exec,
            "exec_resize": self._exec_resize,
            "exec_kill": self._exec_kill,
            "resize": self._resize,
            "kill": self._kill,
            "pause": self._pause,
            "resume": self._resume,
            "stats": self._stats,
            "pids": self._pids,
            "update": self._update,
            "watch_memory": self._watch_memory,
            "netns": self._give_netns,
            "names": self._give_names,
            "shutdown": self._shutdown,
        }

    def run(self, creator: socket) -> None:
        """Serve ``creator`` and every later engine until nobody needs the container any more."""
        self._reactor.watch_children(self._reap)
        connection = self._control.add(creator)
        try:
            netns = self._take_netns()
            connection.send(self._describe(), (*netns, *self._open_names()))
            self._create()
            # The creator is told already, so this costs it nothing; no other engine can need the
            # socket before the container runs.
            self._control.listen(self._request.run_dir)
        except (KedgeError, OSError) as error:
            self._state = State.FAILED
            connection.send({"event": "create_failed", "error": encode_failure(error)})
            self._reactor.call_later(0, self._leave)
        self._reactor.run()
        self._control.close()

    # -- creation

    def _take_netns(self) -> tuple[int, ...]:
        """Be in the right network namespace; return what the engine gets of it."""
        netns, self._netns = self._netns, None
        request = self._request
        if netns is not None and (request.uid_mappings or not request.own_netns):
            netns.leave()
            netns = None
        if not request.own_netns:
            return ()
        netns = netns or ReadyNetns(
            request.uid_mappings, request.gid_mappings, owner=request.user_namespace
        )
        if request.log is not None and request.log.forward is not None:
            # Its service is the host's, and this process is in the container's network.
            self._host_netns = netns.host()
        return netns.give()

    def _open_names(self) -> tuple[int, ...]:
        """Open the name server's sockets; return them and, if need be, a way to redirect to them.

        A host whose kernel has no packet filter has the server on the port itself.
        """
        if self._request.dns_port == NO_NAME_SERVER:
            return ()
        self._names = NameSockets(self._request.dns_port)
        needs_redirect = self._request.dns_port == ANY_PORT
        return (*self._names.give(), *((open_packet_filter(),) if needs_redirect else ()))

    def _create(self) -> None:
        request = self._request
        log = self._open_log()
        pipes = (
            Pipes()
            if request.terminal
            else open_pipes(stdin=request.stdin, stdout=True, stderr=True)
        )
        try:
            task = self._make_task(request, pipes)
        except BaseException:
            pipes.close_all()
            if log is not None:
                log.close()
            raise
        pipes.close_theirs()
        streams = Streams(self._reactor, log=log, close_stdin_once=request.stdin_once)
        if task.terminal >= 0:
            streams.use_terminal(task.terminal, feeds=request.stdin)
        else:
            streams.use_pipes(pipes)
        self._task = task
        self._streams = streams
        self._state = State.CREATED
        mountpoints: list[Json] = [*task.created_mountpoints]
        self._control.broadcast(
            {"event": "created", "pid": task.pid, "created_mountpoints": mountpoints}
        )

    def _open_log(self) -> LogSink | None:
        config = self._request.log
        if config is None:
            return None
        try:
            return open_sink(config, self._reactor, self._host_netns, on_gap=self._tell_of_gap)
        except OSError as error:
            raise SystemFailureError(
                f"failed to initialize logging driver: {one_line(error)}"
            ) from error

    def _tell_of_gap(self, missing_bytes: int, reason: str) -> None:
        self._control.broadcast(
            {"event": "log_gap", "missing_bytes": missing_bytes, "reason": reason}
        )

    def _describe(self) -> JsonObject:
        """Return the first message on a connection: everything there is to know."""
        task = self._task
        mountpoints: list[Json] = [] if task is None else [*task.created_mountpoints]
        return {
            "event": "hello",
            **describe_protocol(),
            "id": self._request.id,
            "cgroup_path": self._request.cgroup_path,
            "shim_pid": os.getpid(),
            "state": self._state,
            "pid": 0 if task is None else task.pid,
            "created_mountpoints": mountpoints,
            "started_at_ns": self._started_at_ns,
            "exit": encode_exit(self._status) if self._concluded and self._status else None,
            "execs": self._execs.describe(),
        }

    # -- requests

    def _serve(self, body: JsonObject, fds: list[int]) -> JsonObject | Reply:
        operation = self._operations.get(str(body.get("op")))
        if operation is None:
            raise unknown_operation(body.get("op"))
        return operation(part(body, "args"), fds)

    def _start(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        task, streams = self._require_task()
        if self._state is not State.CREATED:
            raise ConflictError(f"container {self._request.id} cannot start: it is {self._state}")
        try:
            task.start()
        except (KedgeError, OSError):
            self._state = State.FAILED
            streams.finish()
            raise
        self._started_at_ns = SYSTEM_CLOCK.time_ns()
        self._state = State.RUNNING
        streams.start_terminal()
        return {"pid": task.pid, "started_at_ns": self._started_at_ns}

    def _attach(self, args: JsonObject, fds: list[int]) -> JsonObject:
        _, streams = self._require_task()
        if not fds:
            raise ConflictError("attach came without a connection")
        wanted = {STDOUT: flag(args, "stdout"), STDERR: flag(args, "stderr")}
        connection, fds[0] = socket(fileno=fds[0]), -1
        streams.attach(
            connection,
            frozenset(stream for stream, want in wanted.items() if want),
            feeds=flag(args, "stdin"),
        )
        return {"begin_ns": SYSTEM_CLOCK.time_ns()}

    def _exec(self, args: JsonObject, fds: list[int]) -> JsonObject:
        task = self._require_running()
        if self._state is State.PAUSED:
            raise ConflictError(
                f"Container {self._request.id} is paused, unpause the container before exec"
            )
        return {"pid": self._execs.start(task, parse_exec(args), fds)}

    def _exec_resize(self, args: JsonObject, _fds: list[int]) -> JsonObject:
        self._execs.resize(
            text(args, "exec_id"), rows=integer(args, "height"), columns=integer(args, "width")
        )
        return {}

    def _exec_kill(self, args: JsonObject, _fds: list[int]) -> JsonObject:
        self._execs.signal(text(args, "exec_id"), integer(args, "signal"))
        return {}

    def _resize(self, args: JsonObject, _fds: list[int]) -> JsonObject:
        _, streams = self._require_task()
        streams.resize(rows=integer(args, "height"), columns=integer(args, "width"))
        return {}

    def _kill(self, args: JsonObject, _fds: list[int]) -> JsonObject:
        task = self._require_running(also=State.CREATED)
        signum = integer(args, "signal")
        if flag(args, "all"):
            task.signal_all(signum)
        else:
            task.signal(signum)
        if signum == signal.SIGKILL and self._state is State.PAUSED:
            # A frozen process of cgroup v1 dies only once it may run.
            task.thaw()
            self._state = State.RUNNING
        return {}

    def _pause(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        task = self._require_running()
        if self._state is State.PAUSED:
            raise ConflictError(f"Container {self._request.id} is already paused")
        task.freeze()
        self._state = State.PAUSED
        return {}

    def _resume(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        task = self._require_running()
        if self._state is not State.PAUSED:
            raise ConflictError(f"Container {self._request.id} is not paused")
        task.thaw()
        self._state = State.RUNNING
        return {}

    def _stats(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        return self._require_running(also=State.CREATED).stats()

    def _pids(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        pids: list[Json] = [*self._require_running(also=State.CREATED).pids()]
        return {"pids": pids}

    def _update(self, args: JsonObject, _fds: list[int]) -> JsonObject:
        self._require_running(also=State.CREATED).update(part(args, "resources"))
        return {}

    def _watch_memory(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        task = self._require_running()
        if self._alarm is None:
            self._alarm = task.open_oom_alarm()
            self._reactor.watch(self._alarm.fd, READABLE, lambda _events: self._tell_of_memory())
        return {}

    def _tell_of_memory(self) -> None:
        if self._alarm is not None and self._alarm.take():
            self._control.broadcast({"event": "oom"})

    def _give_netns(self, _args: JsonObject, _fds: list[int]) -> Reply:
        if not self._request.own_netns:
            raise ConflictError(f"container {self._request.id} has no network namespace of its own")
        return Reply({}, open_descriptors())

    def _give_names(self, _args: JsonObject, _fds: list[int]) -> Reply:
        if self._names is None:
            raise ConflictError(f"container {self._request.id} has no name server")
        return Reply({}, self._names.give())

    def _shutdown(self, _args: JsonObject, _fds: list[int]) -> JsonObject:
        if self._state in (State.RUNNING, State.PAUSED):
            raise ConflictError(
                f"You cannot remove a running container {self._request.id}. "
                "Stop the container before attempting removal or force remove"
            )
        self._dispose()
        self._reactor.call_later(0, self._leave)
        return {}

    def _require_task(self) -> tuple[Task, Streams]:
        if self._task is None or self._streams is None:
            raise ConflictError(f"container {self._request.id} is not created")
        return self._task, self._streams

    def _require_running(self, *, also: State = State.RUNNING) -> Task:
        task, _ = self._require_task()
        if self._state not in (State.RUNNING, State.PAUSED, also):
            raise ConflictError(f"container {self._request.id} is not running")
        return task

    # -- the end

    def _reap(self) -> None:
        """Take every dead child; the init last, because its end closes the others' streams."""
        init_status = None
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            status = parse_wait_status(wait_status)
            if self._task is not None and pid == self._task.pid:
                init_status = status
            else:
                # Others than execs are orphans that came here because this is a subreaper.
                self._execs.reap(pid, status)
        if init_status is not None:
            self._end(init_status)

    def _end(self, status: ExitStatus) -> None:
        task, streams = self._require_task()
        if self._state is State.FAILED:
            return
        self._state = State.EXITED
        if self._alarm is not None:
            self._reactor.forget(self._alarm.fd)
            self._alarm.close()
            self._alarm = None
        self._status = status._replace(oom_killed=_had_oom_kill(task))
        if task.dies_with_init:
            streams.drain()
            self._conclude()
            return
        # Whoever cannot be killed must not keep the exit from being known: the timer sees to that.
        with suppress(KedgeError, OSError):
            task.signal_all(signal.SIGKILL)
        if streams.is_silent:
            self._conclude()
        else:
            streams.on_silent = self._conclude
            self._reactor.call_later(_DRAIN_S, self._conclude)

    def _conclude(self) -> None:
        """Make the exit known, once."""
        _, streams = self._require_task()
        if self._concluded or self._status is None:
            return
        self._concluded = True
        streams.finish()
        self._execs.finish()
        # Without room for the file, or its directory, whoever is connected is told all the same.
        with suppress(OSError):
            store_exit(self._request.run_dir, self._status)
        self._control.broadcast({"event": "exited", "exit": encode_exit(self._status)})
        self._leave_if_lost()

    def _leave_unless_needed(self) -> None:
        """Nobody is connected any more: decide whether somebody will come."""
        if self._state in (State.CREATED, State.FAILED):
            self._abandon()
        elif self._leaving:
            self._leave()
        elif self._concluded:
            self._leave_if_lost()

    def _leave_if_lost(self) -> None:
        """Look from time to time whether anybody can still ask how the container ended."""
        if self._lost_check is not None:
            self._lost_check.cancel()
        if self._leaving or not self._control.is_alone:
            return
        if self._control.can_be_found():
            self._lost_check = self._reactor.call_later(_LOST_CHECK_S, self._leave_if_lost)
        else:
            self._abandon()

    def _abandon(self) -> None:
        # What cannot be removed is left for the engine to find; there is nobody here to tell.
        with suppress(KedgeError, OSError):
            self._dispose()
        self._leave()

    def _dispose(self) -> None:
        """Remove what the container had on the host; its processes go first."""
        if self._task is not None and self._status is None:
            self._kill_init(self._task)
        if self._streams is not None:
            self._streams.finish()
        self._execs.finish()
        if self._task is not None:
            self._task.delete()
        self._control.stop_listening()
        self._leaving = True

    def _kill_init(self, task: Task) -> None:
        # Reaped already is what was wanted.
        with suppress(KedgeError, OSError):
            task.signal(signal.SIGKILL)
            self._status = parse_wait_status(os.waitpid(task.pid, 0)[1])

    def _leave(self) -> None:
        """End the shim once every client has what it is owed."""
        self._leaving = True
        flushed = self._streams is None or self._streams.is_flushed
        if flushed and self._execs.is_flushed:
            self._reactor.stop()
        else:
            self._reactor.call_later(_FLUSH_POLL_S, self._leave)


def _had_oom_kill(task: Task) -> bool:
    try:
        return task.oom_kills() > 0
    except (KedgeError, OSError):
        return False
