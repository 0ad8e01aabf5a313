"""``build --debug-shell``: a terminal in the file system of a step that failed.

The build's thread announces a token and waits, the step's layer and mounts in its hands. The
client comes on a connection of its own, gets a shell in a container like the step's, and with the
end of that connection everything is gone: the container first, then the layer.
"""

import contextlib
import os
import posixpath
import shutil
import stat
import struct
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from kedge.api.streams import AttachedStream
from kedge.archive.layered import LayerStack
from kedge.builder.events import Event, Notice, ShellReady
from kedge.builder.shells import FailedStep
from kedge.builder.steps import StepSpec
from kedge.engine.steprunner import EngineStepRunner, killed_when, layer_directories
from kedge.errdefs import ConflictError, KedgeError, NotFoundError
from kedge.lib.ids import new_id
from kedge.oci.mounts import Mount
from kedge.shim.client import Shim

_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash")
_TOOLBOX: Final = "/.kedge/busybox"
_READ_ONLY: Final = ("bind", "ro", "nosuid", "nodev")
_POLL_S: Final = 0.1
_PT_INTERP: Final = 3


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A shell that was announced."""

    spec: StepSpec
    cancel: threading.Event
    taken: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    shim: Shim | None = None
    size: tuple[int, int] | None = None
    """Width and height; known before the shell runs."""


class ShellDesk:
    """The shells of every build of one engine."""

    def __init__(self, runner: EngineStepRunner) -> None:
        """Run shells with ``runner``."""
        self._runner = runner
        self._waiting: dict[str, _Waiting] = {}

    def of_build(self, cancel: threading.Event) -> "BuildShells":
        """Return what opens shells for a build until ``cancel`` is set."""
        return BuildShells(self, cancel)

    def offer(
        self, spec: StepSpec, cancel: threading.Event, announce: Callable[[str], None]
    ) -> None:
        """Announce a shell and wait for its end; from a build's thread."""
        token = new_id()
        waiting = self._waiting[token] = _Waiting(spec=spec, cancel=cancel)
        try:
            announce(token)
            # A shell that runs is killed when the build is cancelled, and over a moment later.
            while not waiting.over.wait(_POLL_S):
                if cancel.is_set() and not waiting.taken:
                    return
        finally:
            self._waiting.pop(token, None)

    @contextlib.asynccontextmanager
    async def open(self, token: str) -> AsyncGenerator[AttachedStream]:
        """Enclose the life of a shell; leaving kills it.

        Raises:
            NotFoundError: No shell waits under this token.
            ConflictError: Somebody else has it.
            KedgeError: It cannot be started.
        """
        waiting = self._waiting.get(token)
        if waiting is None:
            raise NotFoundError(f"no such shell of a build: {token}")
        if waiting.taken:
            raise ConflictError(f"the shell {token} of a build is in use")
        waiting.taken = True
        try:
            async with self._runner.container(waiting.spec, terminal=True) as (shim, _):
                with await shim.attach(stdin=True, stdout=True, stderr=True) as sock:
                    await shim.start()
                    waiting.shim = shim
                    if waiting.size is not None:
                        await shim.resize(*waiting.size)
                    async with killed_when(waiting.cancel, shim):
                        yield AttachedStream(tty=True, stdin=True, sock=sock)
        finally:
            waiting.over.set()

    async def resize(self, token: str, *, width: int, height: int) -> None:
        """Set the size of a shell's terminal, also of one that is about to run.

        Raises:
            NotFoundError: There is none.
        """
        waiting = self._waiting.get(token)
        if waiting is None:
            raise NotFoundError(f"no such shell of a build: {token}")
        waiting.size = (width, height)
        if waiting.shim is not None:
            await waiting.shim.resize(width, height)


class BuildShells:
    """Satisfies the builder's ``Shells`` for one build."""

    def __init__(self, desk: ShellDesk, cancel: threading.Event) -> None:
        self._desk = desk
        self._cancel = cancel
        self._once = threading.Lock()

    def show(self, step: FailedStep, on_event: Callable[[Event], None]) -> None:
        """Open a shell for the first step that failed and return when it is over."""
        if not self._once.acquire(blocking=False):
            return
        try:
            spec = _with_shell(step.spec)
        except KedgeError as error:
            on_event(Notice(text=f"no shell: {error}"))
            return

        def announce(token: str) -> None:
            shell = posixpath.basename(spec.args[0])
            on_event(ShellReady(token=token, reason=step.reason, shell=shell))

        self._desk.offer(spec, self._cancel, announce)


def _with_shell(spec: StepSpec) -> StepSpec:
    """Return the step as a shell: one of its own file system, else the host's static busybox.

    Raises:
        NotFoundError: There is none.
    """
    env = spec.env
    if not any(item.startswith("TERM=") for item in env):
        env = (*env, "TERM=xterm")
    with LayerStack(layer_directories(spec)) as files:
        usual = posixpath.basename(spec.args[0]) if spec.args else ""
        own = [spec.args[0]] if usual in {"bash", "sh", "ash", "zsh", "dash"} else []
        for path in (*_SHELLS[:2], *own, *_SHELLS[2:]):
            node = files.lookup(path)
            mode = node.status.st_mode if node is not None else 0
            if stat.S_ISREG(mode) and mode & 0o111:
                return replace(spec, args=(path,), env=env)
    toolbox = _static_busybox()
    mount = Mount("bind", toolbox, _READ_ONLY, _TOOLBOX)
    return replace(spec, args=(_TOOLBOX, "sh"), env=env, mounts=(*spec.mounts, mount))


def _static_busybox() -> str:
    path = shutil.which("busybox")
    if path is not None and is_static(path := os.path.realpath(path)):
        return path
    raise NotFoundError(
        "the file system of the step has none, and this host has no static busybox to lend it: "
        "install busybox-static"
    )


def is_static(path: str) -> bool:
    """Whether the ELF program at ``path`` runs without a loader and libraries."""
    try:
        with open(path, "rb") as program:
            head = program.read(64)
            if len(head) < 64 or head[:5] != b"\x7fELF\x02":
                return False
            order = "<" if head[5] == 1 else ">"
            (offset,) = struct.unpack_from(f"{order}Q", head, 32)
            size, count = struct.unpack_from(f"{order}HH", head, 54)
            program.seek(offset)
            table = program.read(size * count)
    except OSError:
        return False
    kinds = [struct.unpack_from(f"{order}I", table, size * i)[0] for i in range(count)]
    return _PT_INTERP not in kinds
