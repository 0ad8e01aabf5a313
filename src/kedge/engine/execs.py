"""Exec sessions: more processes in a running container.

A session is an object of the engine's memory, as in Docker: it goes with its container, and after
a restart of the engine a client creates a new one.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Final

from kedge.api.detachkeys import parse_detach_keys
from kedge.api.streams import AttachedStream
from kedge.api.types.exec import (
    ExecCreateRequest,
    ExecCreateResponse,
    ExecInspect,
    ExecStartRequest,
    ProcessConfig,
)
from kedge.engine import sharing
from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.merge import merge_env, process_env
from kedge.engine.process import lookup_user, security_of
from kedge.engine.running import running_shim
from kedge.engine.spec import make_rlimits
from kedge.engine.state import Status
from kedge.errdefs import ConflictError, InvalidParameterError, KedgeError, NotFoundError
from kedge.lib.ids import new_id
from kedge.lib.jsontypes import Json, JsonObject
from kedge.shim.client import Exec
from kedge.shim.messages import ExecRequest

_START_S: Final = 10.0
"""How long a resize waits for a start, as in Docker's engine."""


@dataclass(slots=True, kw_only=True)
class ExecSession:
    """One session: what was asked for, and its process once it is started."""

    id: str
    container: Container
    request: ExecCreateRequest
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0
    process: Exec | None = None
    ends_with_client: bool = False
    watcher: asyncio.Task[None] | None = field(default=None)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process runs, or could not be started."""


class ExecService:
    """Satisfies the server's ``ExecBackend``."""

    def __init__(self, context: EngineContext) -> None:
        """Start with no sessions."""
        self._context = context
        self._sessions: dict[str, ExecSession] = {}

    async def create(
        self, container: str, request: ExecCreateRequest, *, ends_with_client: bool = False
    ) -> ExecCreateResponse:
        """Record a session in a running container.

        Args:
            container: Id, name or prefix.
            request: What to run.
            ends_with_client: Kill the process when its output is not listened to any more.

        Raises:
            ConflictError: The container does not run or is paused, with Docker's text.
            InvalidParameterError: No command.
        """
        owner = self._context.containers.get(container)
        _check_running(owner)
        if not request.cmd:
            raise InvalidParameterError("No exec command specified")
        parse_detach_keys(request.detach_keys)
        session = ExecSession(
            id=new_id(), container=owner, request=request, ends_with_client=ends_with_client
        )
        self._forget_old(owner)
        self._sessions[session.id] = session
        announce(
            self._context, owner, f"exec_create: {' '.join(request.cmd)}", {"execID": session.id}
        )
        return ExecCreateResponse(id=session.id)

    async def check(self, exec_id: str) -> None:
        """Raise what makes a start impossible already."""
        session = self._get(exec_id)
        _check_running(session.container)
        if session.started:
            raise ConflictError(f"exec {exec_id} has already run: create another one")

    async def start(self, exec_id: str, request: ExecStartRequest) -> AttachedStream | None:
        """Start the session's process.

        Raises:
            KedgeError: It cannot be started; the session keeps 126 or 127 as its exit code.
        """
        session = self._get(exec_id)
        await self.check(exec_id)
        container, wish = session.container, session.request
        shim = running_shim(container)
        session.started = True
        attached = not request.detach
        announce(
            self._context,
            container,
            f"exec_start: {' '.join(wish.cmd or [])}",
            {"execID": session.id},
        )
        try:
            session.process = await shim.exec(
                ExecRequest(
                    exec_id=session.id,
                    process=self._process(session, request),
                    stdin=wish.attach_stdin and attached,
                    stdout=wish.attach_stdout and attached,
                    stderr=wish.attach_stderr and attached,
                    terminal=wish.tty,
                    ends_with_client=session.ends_with_client,
                    alone=not sharing.is_process_donor(self._context, container),
                )
            )
            session.running, session.pid = True, session.process.pid
        except KedgeError as error:
            session.exit_code = _start_failure_code(str(error))
            raise
        finally:
            session.settled.set()
        container.exec_ids.append(session.id)
        session.watcher = asyncio.create_task(self._watch(session, session.process))
        if request.detach or session.process.stream is None:
            return None
        return AttachedStream(
            tty=wish.tty,
            stdin=wish.attach_stdin,
            sock=session.process.stream,
            detach_keys=parse_detach_keys(wish.detach_keys) if wish.tty else b"",
            on_detach=lambda: announce(
                self._context, container, "exec_detach", {"execID": session.id}
            ),
        )

    async def _watch(self, session: ExecSession, process: Exec) -> None:
        try:
            status = await process.wait()
            session.exit_code = status.exit_code
        except KedgeError:
            session.exit_code = 137
        session.running = False
        if session.id in session.container.exec_ids:
            session.container.exec_ids.remove(session.id)
        announce(
            self._context,
            session.container,
            "exec_die",
            {"execID": session.id, "exitCode": str(session.exit_code)},
        )

    def _process(self, session: ExecSession, request: ExecStartRequest) -> JsonObject:
        context, wish = self._context, session.request
        record = session.container.record
        host = record.host_config
        layers = context.snapshots.layer_paths(record.snapshot_key)
        user = lookup_user(layers, wish.user or record.config.user, host.group_add)
        security = security_of(host, privileged=wish.privileged)
        env = merge_env(process_env(record.config), wish.env)
        if wish.tty and not any(item.startswith("TERM=") for item in env):
            env.append("TERM=xterm")
        if not any(item.startswith("HOME=") for item in env):
            env.append(f"HOME={user.home}")
        capabilities = list[Json](security.capabilities)
        effective = capabilities if user.uid == 0 else []
        process: JsonObject = {
            "terminal": wish.tty,
            "user": user.as_json(),
            "args": list[Json](wish.cmd or []),
            "env": list[Json](env),
            "cwd": wish.working_dir or record.config.working_dir or "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": effective,
                "permitted": effective,
            },
            "noNewPrivileges": security.no_new_privileges,
            "rlimits": make_rlimits(host),
        }
        if security.apparmor_profile and not wish.privileged:
            process["apparmorProfile"] = security.apparmor_profile
        size = request.console_size or wish.console_size
        if wish.tty and size and len(size) == 2:
            process["consoleSize"] = {"height": size[0], "width": size[1]}
        return process

    async def resize(self, exec_id: str, *, width: int, height: int) -> None:
        """Resize the session's terminal, as soon as its process runs.

        Clients ask when their stream is open, which is before the process is.

        Raises:
            ConflictError: It does not run.
        """
        session = self._get(exec_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                await session.settled.wait()
        if session.process is None or not session.running:
            raise ConflictError(f"exec {exec_id} is not running")
        await session.process.resize(width, height)

    async def inspect(self, exec_id: str) -> ExecInspect:
        """Return the session's state."""
        session = self._get(exec_id)
        if session.running and session.watcher is not None and _is_gone(session.pid):
            # Clients ask as soon as the output ends; the word of the exit is on its way.
            await asyncio.wait([session.watcher])
        wish = session.request
        command = list(wish.cmd or [""])
        return ExecInspect(
            id=session.id,
            running=session.running,
            exit_code=session.exit_code,
            process_config=ProcessConfig(
                tty=wish.tty,
                entrypoint=command[0],
                arguments=command[1:],
                privileged=wish.privileged,
                user=wish.user,
            ),
            open_stdin=wish.attach_stdin,
            open_stderr=wish.attach_stderr,
            open_stdout=wish.attach_stdout,
            container_id=session.container.id,
            detach_keys=wish.detach_keys,
            pid=session.pid,
        )

    async def wait(self, exec_id: str) -> int:
        """Return the exit code of a session that was started."""
        session = self._get(exec_id)
        if session.watcher is not None:
            await asyncio.wait([session.watcher])
        return 137 if session.exit_code is None else session.exit_code

    def forget(self, exec_id: str) -> None:
        """Keep nothing of a session that no client knows of; its exit is announced all the same."""
        self._sessions.pop(exec_id, None)

    def _get(self, exec_id: str) -> ExecSession:
        session = self._sessions.get(exec_id)
        if session is None or session.container.id not in self._context.containers:
            raise NotFoundError(f"No such exec instance: {exec_id}")
        return session

    def _forget_old(self, container: Container) -> None:
        """Drop ended sessions of containers that are gone, and the oldest beyond a bound."""
        containers = self._context.containers
        for key, session in list(self._sessions.items()):
            if session.container.id not in containers:
                del self._sessions[key]
        ended = [
            key
            for key, session in self._sessions.items()
            if session.container is container and session.exit_code is not None
        ]
        for key in ended[:-256]:
            del self._sessions[key]


def _start_failure_code(message: str) -> int:
    """Return Docker's code: 127 for a program or directory that is not there, otherwise 126."""
    missing = "executable file not found", "no such file or directory"
    return 127 if any(text in message for text in missing) else 126


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (OSError, IndexError):
        return True


def _check_running(container: Container) -> None:
    running_shim(container)
    if container.record.status is Status.PAUSED:
        raise ConflictError(
            f"Container {container.id} is paused, unpause the container before exec"
        )
