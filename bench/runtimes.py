"""The numbers of the runtime: `kedge-runtime` beside runc and crun, and the engine's warm spawner.

All run the same bundle: busybox in all the namespaces runc knows, with Docker's seccomp filter and
limits of memory, processors and processes. The spawner is driven as the engine drives it, with a
network namespace of the container's own and a json-file log, but without an engine around it.
"""

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from bench.material import busybox_root
from bench.processes import MeasureError, private_memory_kib, run
from bench.targets import Number, Probe, Target
from kedge.errdefs import KedgeError
from kedge.oci.fields import read_object
from kedge.runtime.seccomp.default_profile import default_seccomp
from kedge.runtime.spec_template import spec_document
from kedge.shim.client import Shim
from kedge.shim.logconfig import LogConfig
from kedge.shim.messages import CreateRequest, ExecRequest
from kedge.shim.spawner_client import Spawner

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject

Result = TypeVar("Result")

NAMES: Final = (
    "rt-run",
    "rt-run-cpu",
    "rt-spawner",
    "rt-exec",
    "rt-parallel",
    "rt-parallel-time",
    "rt-parallel-spawner",
    "rt-memory",
)
"""Of the numbers, as ``--only`` takes them."""

_PEERS: Final = ("runc", "crun")
_CAPABILITIES: Final = tuple(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
_MANY: Final = 200
_IDLE: Final = 10
# What the spawner takes to have the next shim ready, and the kernel to be done with the last one.
_REST_S: Final = 0.3
_READY_WITHIN_S: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where bundles and state directories are."""

    root: Path

    def runtimes(self) -> dict[str, tuple[str, ...]]:
        """Return the command line of every runtime that is installed, with its own state."""
        commands = {"kedge": str(Path(sys.executable).with_name("kedge-runtime"))}
        commands |= {name: found for name in _PEERS if (found := shutil.which(name))}
        return {
            name: (program, "--root", str(self.root / name)) for name, program in commands.items()
        }

    def make_bundle(self, name: str, *words: str) -> Path:
        """Return a bundle that runs ``words`` in a cgroup of its own."""
        bundle = self.root / "bundles" / name
        bundle.mkdir(parents=True)
        document = spec_document()
        document["ociVersion"] = "1.0.2"
        process = read_object(document["process"], "process")
        sets = ("bounding", "effective", "permitted")
        process |= {
            "terminal": False,
            "args": [*words],
            "capabilities": {each: [*_CAPABILITIES] for each in sets},
        }
        document["root"] = {"path": str(self.root / "rootfs")}
        linux = read_object(document["linux"], "linux")
        linux["cgroupsPath"] = f"/kedge-bench/{name}"
        linux["seccomp"] = default_seccomp(_CAPABILITIES)
        read_object(linux["resources"], "resources").update(
            memory={"limit": 1 << 28},
            pids={"limit": 100},
            cpu={"shares": 512, "quota": 100_000, "period": 100_000},
        )
        (bundle / "config.json").write_text(json.dumps(document))
        return bundle


def measure(wanted: set[str], root: Path, runs: int) -> list[Number]:
    """Return the wanted numbers, measured; ``root`` does not exist yet."""
    place = _Place(root=root)
    root.mkdir()
    with tarfile.open(fileobj=io.BytesIO(busybox_root())) as archive:
        archive.extractall(root / "rootfs", filter="tar")
    found: list[Number] = []
    for name, prepare, count in (
        ("rt-run", _run_true, runs),
        ("rt-run-cpu", _run_true_cpu, runs),
        ("rt-spawner", _spawner_true, runs),
        ("rt-exec", _exec, runs),
        ("rt-parallel", _parallel, 1),
        ("rt-parallel-time", _parallel_time, 1),
        ("rt-parallel-spawner", _parallel_spawner, 1),
        ("rt-memory", _memory, 2),
    ):
        if name in wanted:
            with prepare(place) as number:
                number.measure(count)
                found.append(number)
    return found


def _timed(words: tuple[str, ...]) -> tuple[float, float]:
    """Return milliseconds of time and of processor time from start to exit."""
    time.sleep(_REST_S)
    nothing = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
    start = time.perf_counter()
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=nothing)
    _, status, usage = os.wait4(pid, 0)
    spent = time.perf_counter() - start
    if status:
        raise MeasureError(f"{Path(words[0]).name} ended with {status}")
    return spent * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def _probes(place: _Place, name: str, which: int) -> dict[str, Probe]:
    bundle = str(place.make_bundle(name, "/bin/true"))

    def make(command: tuple[str, ...]) -> Probe:
        words = (*command, "run", "--bundle", bundle, name)
        # The first of each compiles, or links, what the others find.
        with contextlib.suppress(MeasureError):
            _timed(words)
        return lambda: _timed(words)[which]

    return {each: make(command) for each, command in place.runtimes().items()}


@contextlib.contextmanager
def _run_true(place: _Place) -> Iterator[Number]:
    yield Number(
        title="`kedge-runtime run` of /bin/true, start to exit",
        unit="ms",
        probes=_probes(place, "rt-run", 0),
        target=Target(at_most_times=1, than="runc"),
        peers=_PEERS,
    )


@contextlib.contextmanager
def _run_true_cpu(place: _Place) -> Iterator[Number]:
    yield Number(
        title="processor time of the same",
        unit="ms",
        probes=_probes(place, "rt-run-cpu", 1),
        target=Target(),
        peers=_PEERS,
    )


class _Warm:
    """A spawner and a loop to drive it in."""

    def __init__(self, place: _Place, name: str) -> None:
        """Start the spawner."""
        self._place = place
        self._directory = place.root / f"spawner-{name}"
        self._directory.mkdir()
        self._runner = asyncio.Runner()
        self._spawner = Spawner(run_dir=str(self._directory))
        self.run(self._spawner.start())

    def run(self, step: Coroutine[object, object, Result]) -> Result:
        """Return what comes of ``step``."""
        try:
            return self._runner.run(step)
        except KedgeError as error:
            raise MeasureError(str(error)) from error

    def close(self) -> None:
        """End the spawner."""
        self.run(self._spawner.close())
        self._runner.close()
        shutil.rmtree(self._directory)

    def request(self, name: str, *words: str) -> CreateRequest:
        """Return what makes the container ``name``, with its bundle written."""
        run_dir = self._directory / name
        run_dir.mkdir()
        return CreateRequest(
            id=name,
            bundle=str(self._place.make_bundle(name, *words)),
            run_dir=str(run_dir),
            cgroup_path=f"kedge-bench/{name}",
            own_netns=True,
            log=LogConfig(path=str(run_dir / "json.log")),
        )

    async def start(self, request: CreateRequest) -> Shim:
        """Return the shim of a container that runs."""
        shim = await self._spawner.create(request)
        try:
            await shim.wait_created()
            await shim.start()
        except BaseException:
            shim.close()
            raise
        shim.close_netns()
        return shim

    @contextlib.asynccontextmanager
    async def running(self, request: CreateRequest) -> AsyncIterator[Shim]:
        """Have a container run meanwhile."""
        shim = await self.start(request)
        try:
            yield shim
        finally:
            await end(shim)


async def end(shim: Shim) -> None:
    """Kill a container and remove what it had."""
    await shim.kill(9, all=True)
    await shim.wait()
    await shim.shutdown()


@contextlib.contextmanager
def _spawner_true(place: _Place) -> Iterator[Number]:
    warm = _Warm(place, "true")
    names = (f"true-{number}" for number in range(1 << 20))

    async def start_to_exit(request: CreateRequest) -> float:
        start = time.perf_counter()
        shim = await warm.start(request)
        status = await shim.wait()
        await shim.shutdown()
        spent = time.perf_counter() - start
        if status.exit_code:
            raise MeasureError(f"the container ended with {status.exit_code}")
        return spent * 1000

    def probe() -> float:
        request = warm.request(next(names), "/bin/true")
        time.sleep(_REST_S)
        return warm.run(start_to_exit(request))

    peers = {name: each for name, each in _probes(place, "rt-spawner", 0).items() if name in _PEERS}
    probe()
    yield Number(
        title="the same through the warm spawner",
        unit="ms",
        probes={"kedge": probe, **peers},
        target=Target(at_most_times=1.5, than="crun"),
        peers=_PEERS,
    )
    warm.close()


@contextlib.contextmanager
def _exec(place: _Place) -> Iterator[Number]:
    warm = _Warm(place, "exec")
    shim = warm.run(warm.start(warm.request("exec-kedge", "/bin/sleep", "3600")))
    numbers = iter(range(1 << 20))
    process: JsonObject = {
        "args": ["/bin/true"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": {each: [*_CAPABILITIES] for each in ("bounding", "effective", "permitted")},
    }

    async def once() -> float:
        request = ExecRequest(f"e{next(numbers)}", process, stdout=True, stderr=True, alone=True)
        start = time.perf_counter()
        session = await shim.exec(request)
        status = await session.wait()
        spent = time.perf_counter() - start
        if session.stream is not None:
            session.stream.close()
        if status.exit_code:
            raise MeasureError(f"the process ended with {status.exit_code}")
        return spent * 1000

    probes: dict[str, Probe] = {"kedge": lambda: warm.run(once())}
    started: list[tuple[str, ...]] = []
    for name, command in place.runtimes().items():
        if name in _PEERS:
            bundle = place.make_bundle(f"exec-{name}", "/bin/sleep", "3600")
            _detached((*command, "run", "--detach", "--bundle", str(bundle), "idle"))
            started.append((*command, "delete", "--force", "idle"))
            probes[name] = _exec_probe((*command, "exec", "idle", "/bin/true"))
    yield Number(
        title="a process in a running container, start to exit",
        unit="ms",
        probes=probes,
        target=Target(at_most=12),
        peers=_PEERS,
    )
    for words in started:
        run(words)
    warm.run(end(shim))
    warm.close()


def _exec_probe(words: tuple[str, ...]) -> Probe:
    return lambda: _timed(words)[0]


def _detached(words: tuple[str, ...]) -> None:
    """Run a command whose container keeps the standard streams."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_READY_WITHIN_S,
        check=False,
    )
    if done.returncode:
        raise MeasureError(f"{Path(words[0]).name} {words[3]} ended with {done.returncode}")


@contextlib.contextmanager
def _parallel(place: _Place) -> Iterator[Number]:
    yield Number(
        title=f"failures of {_MANY} `run --detach` in parallel",
        unit="containers",
        probes=_many_probes(place, 0),
        target=Target(none=True),
        peers=_PEERS,
    )


@contextlib.contextmanager
def _parallel_time(place: _Place) -> Iterator[Number]:
    yield Number(
        title="until all of them run",
        unit="s",
        probes=_many_probes(place, 1),
        target=Target(),
        peers=_PEERS,
    )


def _many_probes(place: _Place, which: int) -> dict[str, Probe]:
    bundles = [
        place.make_bundle(f"many-{which}-{each}", "/bin/sleep", "3600") for each in range(_MANY)
    ]

    def make(command: tuple[str, ...]) -> Probe:
        return lambda: _start_many(command, bundles)[which]

    return {name: make(command) for name, command in place.runtimes().items()}


def _start_many(command: tuple[str, ...], bundles: list[Path]) -> tuple[float, float]:
    """Return how many did not start, and the seconds it took."""
    begun = time.perf_counter()
    processes = [
        subprocess.Popen(
            (*command, "run", "--detach", "--bundle", str(bundle), bundle.name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for bundle in bundles
    ]
    codes = [process.wait() for process in processes]
    spent = time.perf_counter() - begun
    failures = 0
    for bundle, code in zip(bundles, codes, strict=True):
        if code or not _is_running(command, bundle.name):
            failures += 1
        with contextlib.suppress(MeasureError):
            run((*command, "delete", "--force", bundle.name))
    return failures, spent


def _is_running(command: tuple[str, ...], name: str) -> bool:
    with contextlib.suppress(MeasureError):
        return '"status": "running"' in run((*command, "state", name))
    return False


@contextlib.contextmanager
def _parallel_spawner(place: _Place) -> Iterator[Number]:
    warm = _Warm(place, "many")

    async def start_many() -> float:
        requests = [warm.request(f"warm-{each}", "/bin/sleep", "3600") for each in range(_MANY)]
        found = await asyncio.gather(*map(warm.start, requests), return_exceptions=True)
        started = [each for each in found if isinstance(each, Shim)]
        for shim in started:
            await end(shim)
        return _MANY - len(started)

    yield Number(
        title=f"failures of {_MANY} starts through the spawner in parallel",
        unit="containers",
        probes={"kedge": lambda: warm.run(start_many())},
        target=Target(none=True),
        skipped=dict.fromkeys(_PEERS, "has no spawner"),
        peers=_PEERS,
    )
    warm.close()


@contextlib.contextmanager
def _memory(place: _Place) -> Iterator[Number]:
    warm = _Warm(place, "memory")
    names = (f"idle-{number}" for number in range(1 << 20))

    async def grown() -> float:
        before = private_memory_kib(frozenset())
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(_IDLE):
                request = warm.request(next(names), "/bin/sleep", "3600")
                await stack.enter_async_context(warm.running(request))
            await asyncio.sleep(1)
            return (private_memory_kib(frozenset()) - before) / _IDLE / 1024

    def probe() -> float:
        return warm.run(grown())

    # The spawner's own memory, and the shim that is ready, are there before.
    probe()
    yield Number(
        title="memory of an idle container, with its shim, shared with nobody",
        unit="MB",
        probes={"kedge": probe},
        target=Target(at_most=3),
        skipped=dict.fromkeys(_PEERS, "has no monitor"),
        peers=_PEERS,
    )
    warm.close()
