"""What clients and containers that have gone leave in the engine: nothing, however they went."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine
from tests.integration.engine_crash.truth import until
from tests.integration.engine_streams.wire import UPGRADE, Wire, ask, create, remove, start

pytestmark = pytest.mark.integration

_TOGETHER = 4
# More than the engine has threads for short work.
_MANY = 20
_TALKS = "while :; do seq 500; sleep 0.05; done"
# Descriptors that come and go by themselves: of a log that is rotated, of the spare shim.
_SLACK = 3
_WARM, _CYCLES = 30, 90
_GROWTH_KIB = 3 * 1024


class Descriptors(NamedTuple):
    """What an engine has open: how much in all, and which files but its own records."""

    total: int
    files: Counter[str]


def descriptors(engine: Engine) -> Descriptors:
    """Return what the engine has open."""
    folder = Path(f"/proc/{engine.pid}/fd")
    targets: list[str] = []
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            targets.append(str(entry.readlink()))
    here, records = f"{engine.root}/", f"{engine.root}/data/metadata."
    files = [each for each in targets if each.startswith(here) and not each.startswith(records)]
    return Descriptors(len(targets), Counter(files))


def until_as_before(engine: Engine, before: Descriptors) -> None:
    """Wait until the engine has no more files open than ``before``, nor more of other kinds."""
    now = before

    def is_as_before() -> bool:
        nonlocal now
        now = descriptors(engine)
        return now.files <= before.files and now.total <= before.total + _SLACK

    try:
        until(is_as_before, "as before")
    except AssertionError as error:
        more = now.files - before.files
        error.add_note(f"{now.total} descriptors, were {before.total}; files more: {dict(more)}")
        raise


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


class Silence:
    """A registry that accepts and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.callers: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.callers.append(self._listener.accept()[0])

    def hang_up(self) -> None:
        """End all conversations; who asks again finds nobody."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for caller in self.callers:
            caller.close()


@pytest.fixture
def silence() -> Generator[Silence]:
    registry = Silence()
    yield registry
    registry.hang_up()


@pytest.fixture(scope="module")
def floods(engine: Engine) -> Generator[str]:
    """A container that writes as fast as it can, and has a large file."""
    container = create(
        engine, f"head -c 20000000 /dev/urandom > /big; {_TALKS}", {"OpenStdin": True}
    )
    start(engine, container)
    until(lambda: b"500\n" in ask(engine, "GET", _logs(container))[1], "it writes")
    yield container
    remove(engine, container)


def _logs(container: str, more: str = "&tail=2") -> str:
    return f"/containers/{container}/logs?stdout=1&stderr=1{more}"


def _exec(engine: Engine, container: str) -> str:
    status, answer = ask(engine, "POST", f"/containers/{container}/exec", _EXEC)
    assert status == 201
    return str(json.loads(answer)["Id"])


_EXEC: JsonObject = {"Cmd": ["sh", "-c", _TALKS], "AttachStdout": True}
_READS = {
    "logs": "GET /containers/{}/logs?stdout=1&follow=1",
    "marked logs": "GET /containers/{}/logs?stdout=1&follow=1&marks=1",
    "stats": "GET /containers/{}/stats",
    "export": "GET /containers/{}/export",
    "copy": "GET /containers/{}/archive?path=/big",
    "save": "GET /images/get?names=busybox",
    "events": "GET /events?since=1",
    "wait": "POST /containers/{}/wait",
    "attach": "POST /containers/{}/attach?stream=1&stdout=1&stdin=1",
}
_WRITES = {
    "build": "POST /build?t=never",
    "load": "POST /images/load",
    "import": "POST /images/create?fromSrc=-&repo=never",
    "copy in": "PUT /containers/{}/archive?path=/",
}


def leave_while_reading(engine: Engine, request: str, headers: str = "") -> None:
    """Ask, read the beginning of the answer, and go without a word; several at once."""
    method, path = request.split()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(engine)) for _ in range(_TOGETHER)]
        for wire in wires:
            wire.send(method, f"/v1.51{path}", headers)
        for wire in wires:
            assert wire.read_head().split()[1] in {"101", "200"}


def leave_while_writing(engine: Engine, request: str) -> None:
    """Send the half of a body, and go."""
    with contextlib.ExitStack() as stack:
        for _ in range(_TOGETHER):
            begin_to_write(stack.enter_context(Wire(engine)), request)


def begin_to_write(wire: Wire, request: str) -> None:
    method, path = request.split()
    kind = "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n"
    wire.send(method, f"/v1.51{path}", kind)
    # The beginning of a file's head in a tar archive.
    wire.socket.sendall(b"%x\r\nDockerfile" % 100_000)


def assert_nothing_stays(engine: Engine, go: Callable[[], None]) -> None:
    go()
    until(lambda: not _is_busy(engine), "warm")
    before = descriptors(engine)
    for _ in range(3):
        go()
    until_as_before(engine, before)
    assert os.listdir(engine.root / "data" / "tmp") == []


def _is_busy(engine: Engine) -> bool:
    """Tell whether clients that have gone are still being served."""
    path = str(engine.socket)
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(path) for line in lines) > 1


@pytest.mark.parametrize("kind", _READS)
def test_who_leaves_in_the_middle_of_an_answer(engine: Engine, floods: str, kind: str) -> None:
    headers = UPGRADE if kind == "attach" else ""
    request = _READS[kind].format(floods)
    assert_nothing_stays(engine, lambda: leave_while_reading(engine, request, headers))
    assert ask(engine, "GET", "/_ping")[0] == 200


@pytest.mark.parametrize("kind", _WRITES)
def test_who_leaves_in_the_middle_of_a_request(engine: Engine, floods: str, kind: str) -> None:
    request = _WRITES[kind].format(floods)
    assert_nothing_stays(engine, lambda: leave_while_writing(engine, request))
    assert "never" not in engine.docker("images").stdout


def test_others_who_take_their_time_hold_nobody_up(
    engine: Engine, floods: str, silence: Silence
) -> None:
    before = descriptors(engine)
    with contextlib.ExitStack() as stack:
        for request in _WRITES.values():
            for _ in range(_MANY):
                begin_to_write(stack.enter_context(Wire(engine)), request.format(floods))
        for number in range(_MANY):
            pull = f"POST /images/create?fromImage={silence.host}/some/thing{number}&tag=latest"
            method, path = pull.split()
            stack.enter_context(Wire(engine)).send(method, path)
        until(lambda: len(silence.callers) >= _MANY, "the registry is asked")
        done = engine.docker("run", "--rm", "busybox", "echo", "hello")
        assert done.stdout == "hello\n"
        assert engine.docker("cp", f"{floods}:/bin/sh", "-").stdout
    silence.hang_up()
    until_as_before(engine, before)


def test_who_leaves_an_exec_leaves_it_running(engine: Engine, floods: str) -> None:
    body = b'{"Detach":false}'
    session = _exec(engine, floods)
    before = descriptors(engine)
    with Wire(engine) as wire:
        kind = f"{UPGRADE}Content-Type: application/json\r\n"
        wire.send("POST", f"/v1.51/exec/{session}/start", kind, body)
        wire.read_until(b"500\n")
    until_as_before(engine, before)
    found = engine.get(f"/exec/{session}/json")
    assert found["Running"] is True
    os.kill(int(str(found["Pid"])), signal.SIGKILL)
    until(lambda: not engine.get(f"/exec/{session}/json")["Running"], "it has ended")


def test_the_thousandth_container_costs_what_the_first_did(engine: Engine) -> None:
    def cycle() -> None:
        container = create(engine, "echo hello; exit 3")
        start(engine, container)
        status, answer = ask(engine, "POST", f"/containers/{container}/wait")
        assert status == 200
        assert b'"StatusCode":3' in answer
        remove(engine, container)

    for _ in range(_WARM):
        cycle()
    until(lambda: not _is_busy(engine), "warm")
    before, kib, count = descriptors(engine), resident_kib(engine.pid), threads(engine.pid)
    for _ in range(_CYCLES):
        cycle()
    until_as_before(engine, before)
    grown = resident_kib(engine.pid) - kib
    assert grown < _GROWTH_KIB
    # Threads of a pool are made when they are needed, and no more than the pool may have.
    assert threads(engine.pid) <= count + 2
