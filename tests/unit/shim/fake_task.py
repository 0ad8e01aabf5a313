"""A task that is a plain child process: the whole process model without root.

The bundle's `config.json` holds ``args``; ``"fail": "create"`` makes creation fail.
"""

import json
import os
import signal

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.jsontypes import JsonObject
from kedge.linux import prctl, process
from kedge.shim.holder import HolderLine
from kedge.shim.luggage import Luggage
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.streams import Pipes
from kedge.shim.task import ExecProcess, MakeTask


class FakeAlarm:
    """Wakes when somebody writes to a FIFO; ``!`` stands for want of memory."""

    def __init__(self, path: str) -> None:
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def take(self) -> bool:
        return b"!" in os.read(self.fd, 100)

    def close(self) -> None:
        os.close(self.fd)


class FakeTask:
    def __init__(self, request: CreateRequest, pid: int, go: int, args: list[str]) -> None:
        self._request = request
        self._pid = pid
        self._go = go
        self._args = args

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def death_fd(self) -> int:
        return -1

    @property
    def terminal(self) -> int:
        return -1

    @property
    def created_mountpoints(self) -> tuple[str, ...]:
        return ("/made",)

    @property
    def dies_with_init(self) -> bool:
        return False

    def start(self) -> None:
        if not os.path.exists(self._args[0]):
            os.kill(self._pid, signal.SIGKILL)
            raise NotFoundError(f'exec: "{self._args[0]}": executable file not found in $PATH')
        os.write(self._go, b"x")
        os.close(self._go)

    def exec(self, request: ExecRequest, pipes: Pipes) -> ExecProcess:
        args = request.process["args"]
        assert isinstance(args, list)
        pid = _fork_program([str(arg) for arg in args], pipes)
        return ExecProcess(pid, os.pidfd_open(pid), -1)

    def reap(self) -> int:
        return os.waitpid(self._pid, 0)[1]

    def try_pack(self, _luggage: Luggage) -> None:
        """Stay: the program is a child of this process."""

    def signal(self, signum: int) -> None:
        os.kill(self._pid, signum)

    def signal_all(self, signum: int) -> None:
        try:
            os.killpg(self._pid, signum)
        except ProcessLookupError:
            return

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        return [self._pid]

    def stats(self) -> JsonObject:
        return {"version": 0}

    def update(self, resources: JsonObject) -> None:
        raise InvalidParameterError(f"no limit called {next(iter(resources))}")

    def oom_kills(self) -> int:
        return 0

    def open_oom_alarm(self) -> FakeAlarm:
        return FakeAlarm(os.path.join(self._request.run_dir, "alarm"))

    def delete(self) -> None:
        self.signal_all(signal.SIGKILL)
        with open(os.path.join(self._request.run_dir, "deleted"), "w", encoding="ascii"):
            pass


def make_task(request: CreateRequest, pipes: Pipes) -> FakeTask:
    with open(os.path.join(request.bundle, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    if config.get("fail") == "create":
        raise InvalidParameterError("config.json is nonsense")
    waits, go = os.pipe()
    pid = _fork_program(config["args"], pipes, waits)
    os.close(waits)
    return FakeTask(request, pid, go, config["args"])


def _fork_program(args: list[str], pipes: Pipes, waits: int = -1) -> int:
    """Return the pid of a process in which a signal finds its default action."""
    ready, says_ready = os.pipe()
    pid = os.fork()  # noqa: TID251 - a stand-in for the runtime
    if pid:
        os.close(says_ready)
        os.read(ready, 1)
        os.close(ready)
        return pid
    try:
        os.setpgid(0, 0)
        prctl.set_parent_death_signal(signal.SIGKILL)
        process.reset_signals()
        null = os.open(os.devnull, os.O_RDWR)
        for target, fd in enumerate(pipes.theirs):
            os.dup2(null if fd < 0 else fd, target)
        os.write(says_ready, b"x")
        if waits >= 0:
            os.read(waits, 1)
        process.close_from(3)
        os.execv(args[0], args)
    finally:
        os._exit(127)


def prepare(_holder: HolderLine, *, ahead: bool) -> MakeTask:
    del ahead
    return make_task
