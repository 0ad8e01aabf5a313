"""One container from its creation to the moment the engine has taken note of its end.

The states and what each of them promises are in `kedge.shim.states`. Requests come from
`kedge.shim.control`, processes from a `kedge.shim.task.Task`; everything happens on one reactor.
"""

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from socket import socket
from typing import Final

from kedge.errdefs import ConflictError, KedgeError, SystemFailureError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux.namespaces import CLONE_NEWNET, setns
from kedge.shim.control import ControlServer, Reply, Serve, unknown_operation
from kedge.shim.execs import ExecSessions
from kedge.shim.exits import parse_wait_status, store_exit
from kedge.shim.holder import HolderLine
from kedge.shim.logsink import LogSink, open_sink, resume_sink
from kedge.shim.luggage import Luggage
from kedge.shim.messages import (
    STDERR,
    STDOUT,
    CreateRequest,
    ExitStatus,
    encode_create,
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
from kedge.shim.netns import ReadyNetns, open_descriptors, open_own
from kedge.shim.protocol import describe_protocol
from kedge.shim.reactor import READABLE, Reactor, Timer
from kedge.shim.states import State
from kedge.shim.streams import Pipes, Streams, open_pipes
from kedge.shim.task import MakeTask, OomAlarm, ResumeTask, Task

# With the host's process ids, a pipe may be held by somebody the kill does not reach.
_DRAIN_S: Final = 2.0
_FLUSH_POLL_S: Final = 0.02
_LOST_CHECK_S: Final = 60.0
# A worker that made its container rests soon; one that was woken stays longer, because whoever
# talks to a container once will do it again, and each waking costs milliseconds.
_REST_S: Final = 1.0
_REST_AGAIN_S: Final = 10.0


class Monitor:
    """The shim's one container."""

    def __init__(
        self,
        reactor: Reactor,
        request: CreateRequest,
        holder: HolderLine,
    ) -> None:
        """Do nothing yet; `run` or `resume` does it all.

        Args:
            reactor: Where to wait.
            request: What to make, or what was made.
            holder: Whose worker this process is.
        """
        self._reactor = reactor
        self._request = request
        self._holder = holder
        self._rested = False
        self._host_netns = -1
        self._own_netns = -1
        """The container's, where it is known; -1 while this process is in it."""
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

    def run(self, creator: socket, make_task: MakeTask, netns: ReadyNetns | None) -> None:
        """Make the container; serve ``creator`` and every later engine until nobody needs it.

        Args:
            creator: Connection to the engine that wants it.
            make_task: Makes it.
            netns: The network namespace this process is in, where it was prepared.
        """
        self._reactor.watch_children(self._reap)
        connection = self._control.add(creator)
        try:
            given = self._take_netns(netns)
            connection.send(self._describe(), (*given, *self._open_names()))
            self._create(make_task)
            # The creator is told already, so this costs it nothing; no other engine can need the
            # socket before the container runs.
            self._control.listen(self._request.run_dir)
        except (KedgeError, OSError) as error:
            self._state = State.FAILED
            connection.send({"event": "create_failed", "error": encode_failure(error)})
            self._reactor.call_later(0, self._leave)
        self._serve_until_the_end(_REST_S)

    def resume(self, resume_task: ResumeTask, packed: JsonObject, fds: Mapping[str, int]) -> None:
        """Go on where another worker rested.

        Args:
            resume_task: Makes the task of what it packed.
            packed: What it knew.
            fds: Its descriptors, by name.
        """
        self._reactor.watch_children(self._reap)
        request = self._request
        self._state = State(text(packed, "state"))
        self._started_at_ns = integer(packed, "started_at_ns")
        self._own_netns = fds.get("netns", -1)
        if request.dns_port != NO_NAME_SERVER:
            self._names = NameSockets(request.dns_port, fds)
        self._execs.resume(part(packed, "execs"))
        task = resume_task(request, part(packed, "task"), fds, self._holder)
        log = None
        if request.log is not None:
            kept = fds.get("log", -1), part(packed, "streams")
            log = resume_sink(request.log, self._reactor, kept, on_gap=self._tell_of_gap)
        streams = Streams(self._reactor, log=log, close_stdin_once=request.stdin_once)
        streams.resume(fds)
        self._take(task, streams)
        if "alarm" in fds:
            self._open_alarm(task)
        self._control.resume(request.run_dir, fds)
        self._serve_until_the_end(_REST_AGAIN_S)

    def _serve_until_the_end(self, rest_s: float) -> None:
        self._reactor.when_quiet(rest_s, self._rest)
        self._reactor.run()
        if not self._rested:
            self._control.close()

    # -- rest

    def _rest(self) -> None:
        """Leave everything to the holder, until something happens."""
        luggage = Luggage()
        packed = self._try_pack(luggage)
        if packed is None:
            return
        packed["fds"] = luggage.names()
        state = json.dumps(packed).encode()
        if self._holder.try_rest(state, luggage.waited, luggage.kept):
            self._rested = True
            self._reactor.stop()

    def _try_pack(self, luggage: Luggage) -> JsonObject | None:
        """Return what `resume` needs; None while anything is under way."""
        task, streams = self._task, self._streams
        if task is None or streams is None or self._leaving or self._reactor.has_timers:
            return None
        if self._state not in (State.RUNNING, State.PAUSED) or not self._execs.can_rest:
            return None
        words, own = streams.try_pack(luggage), task.try_pack(luggage)
        if words is None or own is None or not self._control.try_pack(luggage):
            return None
        if self._names is not None:
            self._names.pack(luggage)
        if self._request.own_netns and self._own_netns < 0:
            self._own_netns = open_own()
        luggage.keep("netns", self._own_netns)
        return {
            # What it was mounted from is of no interest any more.
            "request": encode_create(self._request._replace(rootfs=())),
            "state": self._state,
            "started_at_ns": self._started_at_ns,
            "execs": self._execs.describe(),
            "streams": words,
            "task": own,
        }

    # -- creation

    def _take_netns(self, netns: ReadyNetns | None) -> tuple[int, ...]:
        """Be in the right network namespace; return what the engine gets of it."""
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

    def _create(self, make_task: MakeTask) -> None:
        request = self._request
        log = self._open_log()
        pipes = (
            Pipes()
            if request.terminal
            else open_pipes(stdin=request.stdin, stdout=True, stderr=True)
        )
        try:
            task = make_task(request, pipes)
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
        self._take(task, streams)
        self._state = State.CREATED
        mountpoints: list[Json] = [*task.created_mountpoints]
        self._control.broadcast(
            {"event": "created", "pid": task.pid, "created_mountpoints": mountpoints}
        )

    def _take(self, task: Task, streams: Streams) -> None:
        self._task = task
        self._streams = streams
        if task.death_fd >= 0:
            self._reactor.watch(task.death_fd, READABLE, lambda _events: self._take_end(task))

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
            "shim_pid": self._holder.pid,
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
            self._open_alarm(task)
        return {}

    def _open_alarm(self, task: Task) -> None:
        self._alarm = task.open_oom_alarm()
        self._reactor.watch(self._alarm.fd, READABLE, lambda _events: self._tell_of_memory())

    def _tell_of_memory(self) -> None:
        if self._alarm is not None and self._alarm.take():
            self._control.broadcast({"event": "oom"})

    def _give_netns(self, _args: JsonObject, _fds: list[int]) -> Reply:
        if not self._request.own_netns:
            raise ConflictError(f"container {self._request.id} has no network namespace of its own")
        if self._own_netns >= 0:
            setns(self._own_netns, CLONE_NEWNET)
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

    def _take_end(self, task: Task) -> None:
        """Take the init's end, where another process is its parent."""
        self._reactor.forget(task.death_fd)
        # Children first: the init's end closes their streams.
        self._reap()
        self._end(parse_wait_status(task.reap()))

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
            self._reactor.forget(task.death_fd)
            self._status = parse_wait_status(task.reap())

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
