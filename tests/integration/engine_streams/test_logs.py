"""Log drivers and readers through a real engine."""

import contextlib
import os
import socket
import threading

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine
from tests.integration.engine_streams.wire import Wire, ask, create, frames, remove, start

pytestmark = pytest.mark.integration


def run(engine: Engine, command: str, driver: str, options: JsonObject | None = None) -> str:
    """Run a shell command to its end with a log driver; return the container."""
    wish: JsonObject = {"Type": driver, "Config": options or {}}
    container = create(engine, command, {"HostConfig": {"LogConfig": wish}})
    start(engine, container)
    assert ask(engine, "POST", f"/containers/{container}/wait")[0] == 200
    return container


def logs(engine: Engine, container: str, query: str = "") -> bytes:
    with contextlib.closing(engine.client()) as client:
        path = f"/containers/{container}/logs?stdout=1&stderr=1{query}"
        return client.request("GET", path).read()


def test_local_is_compressed_and_comes_back_in_order(engine: Engine) -> None:
    options: JsonObject = {"max-size": "50k", "max-file": "9"}
    container = run(engine, "seq 4000", "local", options)
    names = os.listdir(engine.root / "data" / "containers" / container)
    assert any(name.endswith(".gz") for name in names)
    lines = [b"%d\n" % number for number in range(1, 4001)]
    expected = b"".join(lines)
    assert frames(logs(engine, container)) == {1: expected}
    assert frames(logs(engine, container, "&tail=3500"))[1] == b"".join(lines[500:])
    remove(engine, container)


def test_syslog_gets_lines_from_a_container_with_its_own_network(engine: Engine) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 0))
        service.settimeout(60)
        options: JsonObject = {
            "syslog-address": f"udp://localhost:{service.getsockname()[1]}",
            "syslog-format": "rfc5424",
            "tag": "{{.ImageName}}/{{.Name}}",
        }
        container = run(engine, "echo out; sleep 0.1; echo err >&2", "syslog", options)
        name = str(engine.get(f"/containers/{container}/json")["Name"])[1:]
        got = [service.recv(9999) for _ in range(2)]
    assert got[0].startswith(b"<30>1 ")
    assert f" busybox/{name} ".encode() in got[0]
    assert got[0].endswith(b" - out\n")
    assert got[1].startswith(b"<27>1 ")
    assert frames(logs(engine, container)) == {1: b"out\n", 2: b"err\n"}
    remove(engine, container)


def test_syslog_over_tcp_from_a_container_with_its_own_network(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.settimeout(60)
        got: list[bytes] = []

        def serve() -> None:
            connection = service.accept()[0]
            with connection:
                while data := connection.recv(65536):
                    got.append(data)

        serving = threading.Thread(target=serve)
        serving.start()
        options: JsonObject = {"syslog-address": f"tcp://127.0.0.1:{service.getsockname()[1]}"}
        container = run(engine, "seq 500", "syslog", options | {"cache-disabled": "true"})
        serving.join()
    lines = b"".join(got).splitlines()
    assert [line.rpartition(b": ")[2] for line in lines] == [b"%d" % n for n in range(1, 501)]
    status, answer = ask(engine, "GET", f"/containers/{container}/logs?stdout=1")
    assert (status, b"does not support reading" in answer) == (501, True)
    remove(engine, container)


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("syslog", {"syslog-address": "tcp://127.0.0.1:1"}, b"dial tcp 127.0.0.1:1: connect"),
        ("syslog", {"syslog-address": "unix:///nowhere"}, b"dial unix /nowhere: connect"),
        ("journald", {}, b"journald is not enabled on this host"),
    ],
)
def test_a_service_that_is_not_there_is_an_error_of_the_start(
    engine: Engine, driver: str, options: JsonObject, text: bytes
) -> None:
    if driver == "journald" and os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("this host has a journal")
    wish: JsonObject = {"Type": driver, "Config": options}
    container = create(engine, "true", {"HostConfig": {"LogConfig": wish}})
    status, answer = ask(engine, "POST", f"/containers/{container}/start")
    assert status == 500
    assert b"failed to initialize logging driver: " + text in answer
    remove(engine, container)


def test_details_show_what_was_asked_for(engine: Engine) -> None:
    wish: JsonObject = {"Type": "json-file", "Config": {"env": "A", "tag": "t-{{.ImageName}}"}}
    body: JsonObject = {"Env": ["A=1 2", "B=3"], "HostConfig": {"LogConfig": wish}}
    container = create(engine, "echo x", body)
    start(engine, container)
    assert ask(engine, "POST", f"/containers/{container}/wait")[0] == 200
    assert frames(logs(engine, container, "&details=1")) == {1: b"A=1+2,tag=t-busybox x\n"}
    remove(engine, container)


def test_a_follower_gets_every_line_across_rotations(engine: Engine) -> None:
    options: JsonObject = {"max-size": "20k", "max-file": "50", "compress": "true"}
    wish: JsonObject = {"Type": "json-file", "Config": options}
    command = "for i in 1 2 3 4 5; do seq 500; done; echo end"
    container = create(engine, command, {"HostConfig": {"LogConfig": wish}})
    with Wire(engine) as wire:
        start(engine, container)
        path = f"/containers/{container}/logs?stdout=1&follow=1"
        wire.send("GET", path, "Connection: close\r\n")
        wire.read_head()
        wire.read_until(b"end\n")
    expected = (b"".join(b"%d\n" % number for number in range(1, 501)) * 5) + b"end\n"
    assert frames(logs(engine, container)) == {1: expected}
    remove(engine, container)


def test_idle_followers_take_two_descriptors_each(engine: Engine) -> None:
    container = create(engine, "echo ready; sleep 1000")
    start(engine, container)
    before = os.listdir(f"/proc/{engine.pid}/fd")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(engine)) for _ in range(200)]
        for wire in wires:
            wire.send("GET", f"/containers/{container}/logs?stdout=1&follow=1")
        for wire in wires:
            wire.read_until(b"ready\n")
        assert ask(engine, "GET", "/containers/json")[0] == 200
        assert len(os.listdir(f"/proc/{engine.pid}/fd")) <= len(before) + 2 * len(wires) + 10
    remove(engine, container)
