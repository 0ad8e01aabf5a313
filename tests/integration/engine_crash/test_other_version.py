"""An engine that finds a shim of another version: the container runs on, and can be ended."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from kedge.lib.jsontypes import JsonObject
from kedge.shim.framing import FrameReader, encode_frame, receive
from kedge.shim.messages import SOCKET_NAME
from kedge.shim.protocol import OLDEST, PROTOCOL
from tests.engine import Engine
from tests.integration.engine_crash.truth import (
    assert_true,
    container_id,
    shim_of,
    state,
    status,
    until,
)

pytestmark = pytest.mark.integration


def ask_hello(folder: Path) -> JsonObject:
    """Return what a shim says first."""
    with socket.socket(socket.AF_UNIX) as peer, reached(folder) as path:
        peer.connect(path)
        reader = FrameReader()
        while True:
            assert receive(peer, reader)
            if (message := reader.try_next()) is not None:
                return message.body


@contextlib.contextmanager
def reached(folder: Path) -> Generator[str]:
    """Return a path of the socket in ``folder`` that fits into an address of 107 bytes."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


@contextlib.contextmanager
def speaking(folder: Path, protocol: int) -> Generator[None]:
    """Stand in a shim's place as one of another version would, and change nothing else."""
    hello = {**ask_hello(folder), "protocol": protocol, "oldest_protocol": protocol, "execs": 7}
    path, aside = folder / SOCKET_NAME, folder / "aside"
    path.rename(aside)
    connections: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listener.accept()[0])
                connections[-1].sendall(encode_frame(hello))
                connections[-1].sendall(encode_frame({"event": "exited", "exit": "a new shape"}))

    with socket.socket(socket.AF_UNIX) as listener:
        with reached(folder) as address:
            listener.bind(address)
        listener.listen()
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()
            if aside.exists():
                aside.rename(path)


def test_a_shim_of_another_version(engine: Engine) -> None:
    trap = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    engine.docker("run", "-d", "--name", "box", "-p", "127.0.0.1::80", "busybox", "sh", "-c", trap)
    until(lambda: engine.docker("logs", "box").stdout, "it runs")
    key, pid, shim = (
        container_id(engine, "box"),
        state(engine, "box")["Pid"],
        shim_of(engine, "box"),
    )
    folder = engine.root / "exec" / "shims" / key
    engine.kill()
    with speaking(folder, 99):
        engine.start()
        refusal = (
            f"container {key[:12]} was started by a newer kedge (shim protocol 99, this engine "
            f"speaks {OLDEST} to {PROTOCOL}): it runs on, and can be stopped, killed and removed; "
            "restart it to use everything else"
        )
        assert refusal in engine.log.read_text()
        assert (status(engine, "box"), state(engine, "box")["Pid"]) == ("running", pid)
        for words in (("exec", "box", "true"), ("pause", "box"), ("cp", "box:/bin/sh", "-")):
            done = engine.docker(*words, check=False)
            assert done.returncode != 0
            assert refusal in done.stderr, words
        assert engine.docker("logs", "box").stdout == "up\n"
        # Nothing of it was touched: the right engine finds it as it was.
        engine.kill()
    engine.start()
    assert refusal not in json.dumps(engine.get("/info")["Warnings"])
    engine.docker("exec", "box", "true")
    engine.kill()
    with speaking(folder, 0):
        engine.start()
        assert "was started by an older kedge" in engine.log.read_text()
        engine.docker("restart", "box")
        until(lambda: not Path(f"/proc/{shim}").exists(), "its shim is gone")
    assert engine.docker("logs", "box").stdout == "up\nbye\nup\n"
    assert shim_of(engine, "box") != shim
    engine.docker("exec", "box", "true")
    assert_true(engine)


def test_one_that_ends_while_nobody_understands_it(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    engine.docker("run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "600")
    with contextlib.ExitStack() as stack:
        shims = [shim_of(engine, name) for name in ("box", "brief")]
        for name in ("box", "brief"):
            folder = engine.root / "exec" / "shims" / container_id(engine, name)
            stack.enter_context(speaking(folder, 99))
        engine.kill()
        engine.start()
        engine.docker("kill", "-s", "KILL", "box")
        assert (status(engine, "box"), state(engine, "box")["ExitCode"]) == ("exited", 137)
        engine.docker("rm", "-f", "brief")
        until(lambda: not any(Path(f"/proc/{shim}").exists() for shim in shims), "both are gone")
    assert engine.docker("ps", "-aq").stdout.count("\n") == 1
    engine.docker("start", "box")
    assert_true(engine)
