"""RUN carried out: one command in a container over a new layer.

Host certificates and proxies reach the command, never the layer, the key or the history. A
command that fails leaves nothing; what it printed last decides whether a hint about TLS helps.
"""

import codecs
import copy
import dataclasses
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final

from kedge.builder.events import Event, Notice, Output, RunFinished, RunStarted
from kedge.builder.failures import BuildCancelledError, StepFailedError
from kedge.builder.lowering import SCRIPT_FOLDER
from kedge.builder.operations import RunOperation
from kedge.builder.run_mounts import Shown
from kedge.builder.shells import FailedStep, Shells
from kedge.builder.state import DEFAULT_PATH
from kedge.builder.steps import StepLimits, StepRunner, StepSpec
from kedge.images.layering import OpenLayer, remove_mountpoints
from kedge.lib.hostcerts import CONTAINER_PATH, HINT, shows_tls_failure, with_host_certs
from kedge.lib.ids import new_id
from kedge.oci.mounts import Mount

HOSTNAME: Final = "buildkitsandbox"
_READ_ONLY_BIND: Final = ("bind", "ro", "nosuid", "nodev")
_REMEMBERED_BYTES: Final = 1 << 16


class _Printed:
    """What a command prints: told on as text, the end of it remembered."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._decoders = {
            name: codecs.getincrementaldecoder("utf-8")(errors="replace")
            for name in ("stdout", "stderr")
        }
        self._last: deque[bytes] = deque()
        self._kept = 0

    def take(self, stream: str, data: bytes) -> None:
        text = self._decoders[stream].decode(data)
        if text:
            self._on_event(Output(stream=stream, text=text))
        self._last.append(data)
        self._kept += len(data)
        while self._kept - len(self._last[0]) > _REMEMBERED_BYTES:
            self._kept -= len(self._last.popleft())

    def finish(self) -> None:
        for stream, decoder in self._decoders.items():
            rest = decoder.decode(b"", final=True)
            if rest:
                self._on_event(Output(stream=stream, text=rest))

    @property
    def end(self) -> bytes:
        return b"".join(self._last)


class RunStep:
    """Runs commands for one build."""

    def __init__(
        self,
        runner: StepRunner,
        *,
        scratch: str,
        host_certs: str | None,
        hostname: str,
        limits: StepLimits,
        shells: Shells | None,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> None:
        self._runner = runner
        self._scratch = scratch
        self._host_certs = host_certs
        self._hostname = hostname or HOSTNAME
        self._limits = limits
        self._shells = shells
        self._on_event = on_event
        self._cancel = cancel
        self._told_of_certs = threading.Event()

    @property
    def is_watched(self) -> bool:
        """Whether a step that fails is kept until a person has looked at it."""
        return self._shells is not None

    def reporting_to(self, on_event: Callable[[Event], None]) -> "RunStep":
        """Return the same for steps whose reports go elsewhere."""
        other = copy.copy(self)
        other._on_event = on_event  # noqa: SLF001 - its own class
        return other

    def run(self, operation: RunOperation, layer: OpenLayer, shown: Shown) -> None:
        """Run the command over ``layer`` and clean up what mounting left in it.

        Raises:
            StepFailedError: It returned something else than 0.
            BuildCancelledError: Nobody waits for it any more.
        """
        self._tell_of_certs()
        with self._mounts(operation, shown) as mounts:
            spec = self._spec(operation, layer, mounts, shown.env)
            container_id = spec.container_id
            self._on_event(RunStarted(container_id=container_id))
            printed = _Printed(self._on_event)
            result = self._runner.run(spec, printed.take, self._cancel)
            printed.finish()
            if self._cancel.is_set():
                raise BuildCancelledError("build cancelled")
            self._on_event(RunFinished(container_id=container_id, exit_code=result.exit_code))
            if result.exit_code:
                raise self._failure(operation, spec, result.exit_code, printed.end)
        remove_mountpoints(layer, result.created_mountpoints)

    def look_around(self, operation: RunOperation, layer: OpenLayer, reason: str) -> None:
        """Show ``layer`` as ``operation`` would see it to whoever asked for a shell."""
        with self._mounts(operation, Shown()) as mounts:
            spec = self._spec(operation, layer, mounts, ())
            if self._shells is not None:
                self._shells.show(FailedStep(spec=spec, reason=reason), self._on_event)

    def _spec(
        self,
        operation: RunOperation,
        layer: OpenLayer,
        mounts: tuple[Mount, ...],
        env: Iterable[str],
    ) -> StepSpec:
        return StepSpec(
            container_id=new_id(),
            rootfs=layer.mounts,
            args=operation.args,
            env=(*self._environment(operation), *env),
            cwd=operation.cwd,
            user=operation.user,
            network=operation.network,
            hostname=self._hostname,
            mounts=mounts,
            extra_hosts=operation.hosts,
            is_insecure=operation.is_insecure,
            limits=self._limits,
        )

    def _failure(
        self, operation: RunOperation, spec: StepSpec, exit_code: int, printed: bytes
    ) -> StepFailedError:
        """Return what a command that failed raises, once its user has looked around."""
        if self._host_certs is None and shows_tls_failure(printed):
            self._on_event(Notice(text=HINT))
        error = StepFailedError(
            f"The command '{operation.shell_text}' returned a non-zero code: {exit_code}",
            exit_code=exit_code,
            command=operation.shell_text,
        )
        if self._shells is not None:
            again = dataclasses.replace(spec, container_id=new_id())
            self._shells.show(FailedStep(spec=again, reason=str(error)), self._on_event)
        return error

    def _tell_of_certs(self) -> None:
        if self._host_certs is not None and not self._told_of_certs.is_set():
            self._told_of_certs.set()
            self._on_event(Notice(text="RUN steps trust the certificate authorities of this host"))

    def _environment(self, operation: RunOperation) -> tuple[str, ...]:
        names = {item.partition("=")[0] for item in operation.env}
        proxies = [item for item in operation.proxy if item.partition("=")[0] not in names]
        path = [] if "PATH" in names else [f"PATH={DEFAULT_PATH}"]
        environment = [*operation.env, *path, *proxies]
        if self._host_certs is not None:
            environment = with_host_certs(environment)
        return tuple(environment)

    @contextmanager
    def _mounts(
        self, operation: RunOperation, shown: Shown
    ) -> Generator[tuple[Mount, ...], None, None]:
        mounts = [*shown.mounts]
        if self._host_certs is not None:
            mounts.append(Mount("bind", self._host_certs, _READ_ONLY_BIND, CONTAINER_PATH))
        if not operation.script:
            yield tuple(mounts)
            return
        path = self._write_script(operation.script)
        try:
            target = f"{SCRIPT_FOLDER}/{operation.script_name}"
            yield (*mounts, Mount("bind", path, _READ_ONLY_BIND, target))
        finally:
            os.unlink(path)

    def _write_script(self, text: str) -> str:
        # Closed before it runs: a file that is open for writing cannot be executed.
        descriptor, path = tempfile.mkstemp(dir=self._scratch)
        with os.fdopen(descriptor, "wb") as script:
            os.fchmod(descriptor, 0o755)
            script.write(text.encode(errors="surrogateescape"))
        return path
