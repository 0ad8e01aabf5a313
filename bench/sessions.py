"""The numbers of a session: exec, many containers, logs, memory, listings, followers.

Everything is done over the API of an engine but what a target says of a command. Podman has no
engine and takes part where a command is measured.
"""

import contextlib
import json
import resource
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.engines import IMAGE, KEDGE_CLI, Daemon
from bench.processes import MeasureError, private_memory_kib, run
from bench.rows import Field
from bench.targets import Number, Target

NAMES: Final = (
    "x-exec",
    "x-exec-api",
    "x-hundred",
    "x-ps",
    "x-memory",
    "x-intake",
    "x-logs",
    "x-followers",
)
"""Of the numbers, as ``--only`` takes them."""

_MB: Final = 1_000_000
_LINE: Final = b"x" * 65 + b"\n"
_PART: Final = len(_LINE) * 65536
_IDLE: Final = 10
_NO_ENGINE: Final = "has no engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done; the targets are said for the defaults, but for the gigabyte of intake."""

    containers: int = 100
    listed: int = 500
    intake_mb: int = 256
    logs_mb: int = 50
    followers: int = 1000


def measure(field: Field, wanted: set[str], sizes: Sizes, runs: int) -> list[Number]:
    """Return the wanted numbers, measured."""
    found: list[Number] = []
    for name, prepare in (
        ("x-exec", _exec),
        ("x-exec-api", _exec_over_api),
        ("x-hundred", _hundred),
        ("x-ps", _listing),
        ("x-memory", _memory),
        ("x-intake", _intake),
        ("x-logs", _logs),
        ("x-followers", _followers),
    ):
        if name in wanted:
            with prepare(field, sizes) as number:
                number.measure(runs)
                found.append(number)
    return found


def _daemons(field: Field) -> Iterator[tuple[str, Daemon]]:
    for name, daemon in field.daemons():
        yield ("kedge" if name == "kedged" else name), daemon


def _skipped(field: Field) -> dict[str, str]:
    return {"podman": _NO_ENGINE} if field.podman else {}


def _make(daemon: Daemon, words: list[str], host: dict[str, object] | None = None) -> str:
    request = {"Image": IMAGE, "Cmd": words, "HostConfig": host or {}}
    made = daemon.client().ask("POST", "/containers/create", document=request)
    return str(json.loads(made)["Id"])


def _start(daemon: Daemon, words: list[str], host: dict[str, object] | None = None) -> str:
    identity = _make(daemon, words, host)
    daemon.client().ask("POST", f"/containers/{identity}/start")
    return identity


def _remove(daemon: Daemon, *identities: str) -> None:
    client = daemon.client()
    for identity in identities:
        with contextlib.suppress(MeasureError):
            client.ask("DELETE", f"/containers/{identity}", {"force": "1"})


def _command(words: tuple[str, ...], environment: dict[str, str]) -> Callable[[], float]:
    def probe() -> float:
        begin = time.perf_counter()
        run(words, environment=environment)
        return (time.perf_counter() - begin) * 1000

    return probe


def _client(name: str, daemon: Daemon) -> tuple[str, ...]:
    return KEDGE_CLI if name == "kedge" else daemon.docker_cli


@contextlib.contextmanager
def _exec(field: Field, _sizes: Sizes) -> Iterator[Number]:
    clients = {
        name: (_client(name, daemon), daemon.environment) for name, daemon in _daemons(field)
    }
    if field.podman:
        clients["podman"] = (field.podman, {})
    for client, environment in clients.values():
        run(
            [*client, "run", "-d", "--name", "inner", IMAGE, "sleep", "9999"],
            environment=environment,
        )
    yield Number(
        title="`exec inner true`, the whole command",
        unit="ms",
        probes={
            name: _command((*client, "exec", "inner", "true"), environment)
            for name, (client, environment) in clients.items()
        },
        target=Target(times=4),
    )
    for client, environment in clients.values():
        with contextlib.suppress(MeasureError):
            run([*client, "rm", "-f", "inner"], environment=environment)


@contextlib.contextmanager
def _exec_over_api(field: Field, _sizes: Sizes) -> Iterator[Number]:
    made = {name: _start(daemon, ["sleep", "9999"]) for name, daemon in _daemons(field)}

    def execute(daemon: Daemon, identity: str) -> float:
        client = daemon.client()
        begin = time.perf_counter()
        request = {"Cmd": ["true"], "AttachStdout": True}
        answer = client.ask("POST", f"/containers/{identity}/exec", document=request)
        session = str(json.loads(answer)["Id"])
        # The stream ends when the program does.
        client.ask("POST", f"/exec/{session}/start", document={"Detach": False})
        ended: dict[str, object] = json.loads(client.ask("GET", f"/exec/{session}/json"))
        if ended["ExitCode"] != 0:
            raise MeasureError(f"exec ended with {ended['ExitCode']}")
        return (time.perf_counter() - begin) * 1000

    yield Number(
        title="an exec over the API: create, start, read to the end, inspect",
        unit="ms",
        probes={name: partial(execute, daemon, made[name]) for name, daemon in _daemons(field)},
        target=Target(times=4),
        skipped=_skipped(field),
    )
    for name, daemon in _daemons(field):
        _remove(daemon, made[name])


@contextlib.contextmanager
def _hundred(field: Field, sizes: Sizes) -> Iterator[Number]:
    def start_all(daemon: Daemon) -> float:
        with ThreadPoolExecutor(sizes.containers) as threads:
            begin = time.perf_counter()
            coming = [
                threads.submit(_start, daemon, ["sleep", "9999"]) for _ in range(sizes.containers)
            ]
            failures = [item.exception() for item in coming]
            spent = time.perf_counter() - begin
        running: list[object] = json.loads(daemon.client().ask("GET", "/containers/json"))
        _remove(daemon, *(item.result() for item in coming if item.exception() is None))
        if any(failures) or len(running) < sizes.containers:
            reason = next((item for item in failures if item is not None), "")
            raise MeasureError(f"{len(running)} of {sizes.containers} run {reason}")
        return spent

    yield Number(
        title=f"{sizes.containers} containers created and started at once, until all run",
        unit="s",
        probes={name: partial(start_all, daemon) for name, daemon in _daemons(field)},
        target=Target(times=4),
        skipped=_skipped(field),
    )


@contextlib.contextmanager
def _listing(field: Field, sizes: Sizes) -> Iterator[Number]:
    made = {
        name: [_make(daemon, ["true"]) for _ in range(sizes.listed)]
        for name, daemon in _daemons(field)
    }
    yield Number(
        title=f"`ps -a` with {sizes.listed} containers, the whole command",
        unit="ms",
        probes={
            name: _command((*_client(name, daemon), "ps", "-a"), daemon.environment)
            for name, daemon in _daemons(field)
        },
        target=Target(at_most=200),
        skipped=_skipped(field),
    )
    for name, daemon in _daemons(field):
        _remove(daemon, *made[name])


@contextlib.contextmanager
def _memory(field: Field, _sizes: Sizes) -> Iterator[Number]:
    def grow(daemon: Daemon) -> float:
        before = private_memory_kib()
        made = [_start(daemon, ["sleep", "9999"]) for _ in range(_IDLE)]
        # What is freed once a container runs is not what an idle one needs.
        time.sleep(2)
        after = private_memory_kib()
        _remove(daemon, *made)
        return (after - before) / _IDLE

    yield Number(
        title="private memory of engine and shims per idle container",
        unit="KiB",
        probes={name: partial(grow, daemon) for name, daemon in _daemons(field)},
        target=Target(times=3),
        skipped=_skipped(field),
    )


def _printing(size_mb: int) -> tuple[list[str], int]:
    """Return a command that prints lines at the speed of `cat`, and how many bytes."""
    parts = -(-size_mb * _MB // _PART)
    line = _LINE.decode().strip()
    script = f"yes {line} | head -c {_PART} >/f; for i in $(seq {parts}); do cat /f; done"
    return ["sh", "-c", script], parts * _PART


@contextlib.contextmanager
def _intake(field: Field, sizes: Sizes) -> Iterator[Number]:
    words, size = _printing(sizes.intake_mb)

    def take_in(daemon: Daemon) -> float:
        identity = _make(daemon, words)
        client = daemon.client()
        begin = time.perf_counter()
        client.ask("POST", f"/containers/{identity}/start")
        client.ask("POST", f"/containers/{identity}/wait")
        spent = time.perf_counter() - begin
        _remove(daemon, identity)
        return size / spent / _MB

    yield Number(
        title=f"a container that prints {size // _MB} MB of 66-byte lines, start to end",
        unit="MB/s",
        probes={name: partial(take_in, daemon) for name, daemon in _daemons(field)},
        target=Target(at_least=200),
        more_is_better=True,
        skipped=_skipped(field),
    )


@contextlib.contextmanager
def _logs(field: Field, sizes: Sizes) -> Iterator[Number]:
    words, size = _printing(sizes.logs_mb)
    log: dict[str, object] = {
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1g", "max-file": "1"}}
    }
    made = {name: _start(daemon, words, log) for name, daemon in _daemons(field)}
    for name, daemon in _daemons(field):
        daemon.client().ask("POST", f"/containers/{made[name]}/wait")

    def read(name: str, daemon: Daemon) -> float:
        begin = time.perf_counter()
        with _open_logs(daemon, made[name], follow=False) as connection:
            answer = _receive_all(connection)
        spent = time.perf_counter() - begin
        _check(answer, size)
        return size / spent / _MB

    yield Number(
        title=f"`logs` of {size // _MB} MB over the API, byte-exact",
        unit="MB/s",
        probes={name: partial(read, name, daemon) for name, daemon in _daemons(field)},
        target=Target(at_least=100),
        more_is_better=True,
        skipped=_skipped(field),
    )
    for name, daemon in _daemons(field):
        _remove(daemon, made[name])


@contextlib.contextmanager
def _open_logs(daemon: Daemon, identity: str, *, follow: bool) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(120)
        connection.connect(str(daemon.socket))
        target = f"/v1.41/containers/{identity}/logs?stdout=1&stderr=1&follow={int(follow)}"
        # HTTP/1.0 has no chunks: what is measured is the engine, not this client taking them apart.
        connection.sendall(f"GET {target} HTTP/1.0\r\nHost: bench\r\n\r\n".encode())
        yield connection


def _receive_all(connection: socket.socket) -> bytearray:
    answer = bytearray()
    while data := connection.recv(1 << 20):
        answer += data
    return answer


def _check(answer: bytearray, size: int) -> None:
    """Raise unless the frames of ``answer`` hold ``size`` bytes of the line, in order."""
    position = answer.index(b"\r\n\r\n") + 4
    payload = bytearray()
    while position < len(answer):
        length = int.from_bytes(answer[position + 4 : position + 8], "big")
        payload += answer[position + 8 : position + 8 + length]
        position += 8 + length
    if bytes(payload) != _LINE * (size // len(_LINE)):
        raise MeasureError(f"the log is not what was printed: {len(payload)} of {size} bytes")


@contextlib.contextmanager
def _followers(field: Field, sizes: Sizes) -> Iterator[Number]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def ping(daemon: Daemon) -> float:
        identity = _start(daemon, ["sleep", "9999"])
        client = daemon.client()
        times: list[float] = []
        with contextlib.ExitStack() as stack:
            for _ in range(sizes.followers):
                connection = stack.enter_context(_open_logs(daemon, identity, follow=True))
                # Its answer has begun, so it is not the start of a follower that is measured.
                if not connection.recv(1):
                    raise MeasureError("a follower was turned away")
            for _ in range(50):
                begin = time.perf_counter()
                client.ask("GET", f"/containers/{identity}/json")
                times.append((time.perf_counter() - begin) * 1000)
        _remove(daemon, identity)
        return statistics.median(times)

    yield Number(
        title=f"inspect over the API beside {sizes.followers} idle `logs -f`",
        unit="ms",
        probes={name: partial(ping, daemon) for name, daemon in _daemons(field)},
        target=Target(at_most=10),
        skipped=_skipped(field),
    )
