"""What raw sockets see of the streams: each behaviour that trips those who build this anew."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime

import msgspec
import pytest

from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine
from tests.integration.engine_crash.truth import until
from tests.integration.engine_streams.wire import (
    UPGRADE,
    Wire,
    ask,
    create,
    frames,
    remove,
    start,
)

pytestmark = pytest.mark.integration

ALL = "stream=1&stdin=1&stdout=1&stderr=1"
INTERACTIVE: JsonObject = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Cpu(msgspec.Struct):
    system_cpu_usage: int = 0


class Reading(msgspec.Struct):
    """What the test looks at of one answer."""

    id: str
    read: str
    cpu_stats: Cpu
    precpu_stats: Cpu


@pytest.fixture
def sleeper(engine: Engine) -> Iterator[str]:
    container = create(engine, "echo ready; sleep 1000")
    start(engine, container)
    yield container
    remove(engine, container)


def masked(payload: bytes, opcode: int = 2) -> bytes:
    key = os.urandom(4)
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + key + body


def test_bytes_after_the_head_and_half_close(engine: Engine) -> None:
    container = create(engine, "cat; echo err >&2", INTERACTIVE)
    with Wire(engine) as wire:
        wire.send("POST", f"/v1.43/containers/{container}/attach?{ALL}", UPGRADE)
        wire.socket.sendall(b"early\n")
        wire.socket.shutdown(socket.SHUT_WR)
        head = wire.read_head()
        assert head.startswith("HTTP/1.1 101 UPGRADED")
        assert "Content-Type: application/vnd.docker.multiplexed-stream" in head
        start(engine, container)
        assert frames(wire.read_all()) == {1: b"early\n", 2: b"err\n"}
    remove(engine, container)


def test_past_and_present_join_without_a_seam(engine: Engine) -> None:
    # More than the buffers to a client hold, then some lines while it does not read yet.
    script = "seq 1 300000; read x; seq 300001 302000"
    container = create(engine, script, INTERACTIVE)
    start(engine, container)
    target = f"/containers/{container}/attach?stream=1&stdout=1&logs=1"
    last = f"/containers/{container}/logs?stdout=1&tail=1"
    until(lambda: b"300000\n" in ask(engine, "GET", last)[1], "the first lines are written")
    with Wire(engine) as reader, Wire(engine) as typist:
        reader.send("POST", target, UPGRADE)
        reader.read_head()
        typist.send("POST", f"/containers/{container}/attach?stream=1&stdin=1", UPGRADE)
        typist.read_head()
        typist.socket.sendall(b"go\n")
        assert b'"StatusCode":0' in ask(engine, "POST", f"/containers/{container}/wait")[1]
        lines = frames(reader.read_all())[1].split()
        assert [int(line) for line in lines] == [*range(1, 302001)]
    remove(engine, container)


def test_without_upgrade_the_stream_is_raw_by_its_type(engine: Engine, sleeper: str) -> None:
    with Wire(engine) as wire:
        wire.send("POST", f"/containers/{sleeper}/attach?stream=1&stdout=1&logs=1")
        head = wire.read_head()
        assert head.startswith("HTTP/1.1 200 OK")
        assert "application/vnd.docker.raw-stream" in head
        assert "Transfer-Encoding" not in head
        # What came before the client did is shown first.
        wire.read_until(b"ready\n")
        assert frames(wire.rest) == {1: b"ready\n"}


def test_detach_keys_leave_a_container_running(engine: Engine) -> None:
    container = create(engine, "cat", {"Tty": True, **INTERACTIVE})
    start(engine, container)
    with Wire(engine) as wire:
        wire.send("POST", f"/containers/{container}/attach?{ALL}&detachKeys=ctrl-x,q", UPGRADE)
        assert "raw-stream" in wire.read_head()
        wire.socket.sendall(b"hello\n\x18")
        wire.read_until(b"hello")
        wire.socket.sendall(b"q")
        wire.read_all()
    status, answer = ask(engine, "GET", f"/containers/{container}/json")
    assert status == 200
    assert json.loads(answer)["State"]["Running"] is True
    remove(engine, container)


def test_detach_keys_leave_an_exec_running(engine: Engine, sleeper: str) -> None:
    wish: JsonObject = {
        "AttachStdin": True, "AttachStdout": True, "Tty": True, "Cmd": ["cat"],
        "DetachKeys": "ctrl-a",
    }  # fmt: skip
    status, answer = ask(engine, "POST", f"/containers/{sleeper}/exec", wish)
    assert status == 201
    exec_id = json.loads(answer)["Id"]
    with Wire(engine) as wire:
        headers = f"{UPGRADE}Content-Type: application/json\r\n"
        wire.send("POST", f"/exec/{exec_id}/start", headers, b'{"Tty":true}')
        assert wire.read_head().startswith("HTTP/1.1 101")
        wire.socket.sendall(b"\x01")
        wire.read_all()
    assert json.loads(ask(engine, "GET", f"/exec/{exec_id}/json")[1])["Running"] is True
    bad: JsonObject = {"Cmd": ["cat"], "DetachKeys": "ctrl-"}
    assert ask(engine, "POST", f"/containers/{sleeper}/exec", bad)[0] == 400


def test_websocket_carries_input_and_both_outputs_unframed(engine: Engine) -> None:
    container = create(engine, "cat; echo err >&2; echo end", INTERACTIVE)
    with Wire(engine) as wire:
        wire.send("GET", f"/v1.43/containers/{container}/attach/ws?{ALL}", HANDSHAKE)
        head = wire.read_head()
        assert head.startswith("HTTP/1.1 101")
        # The answer to the key in RFC 6455, section 1.3.
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        start(engine, container)
        wire.socket.sendall(masked(b"hi", 9) + masked(b"in\n"))
        wire.read_until(b"\x8a\x02hi")
        assert b"\x82\x03in\n" in wire.read_until(b"in\n")
        remove(engine, container)
        assert wire.read_all().endswith(b"\x88\x02\x03\xe8")


def test_websocket_refuses_what_is_none(engine: Engine, sleeper: str) -> None:
    status, answer = ask(engine, "GET", f"/containers/{sleeper}/attach/ws?{ALL}")
    assert (status, b"websocket handshake" in answer) == (400, True)
    with Wire(engine) as wire:
        wire.send("GET", f"/containers/{sleeper}/attach/ws?stream=1", HANDSHAKE)
        wire.read_head()
        wire.socket.sendall(b"\x82\x01x")
        assert wire.read_all().endswith(b"\x88\x02\x03\xea")


def test_attach_says_why_not(engine: Engine, sleeper: str) -> None:
    assert ask(engine, "POST", "/containers/nobody/attach?stream=1")[0] == 404
    assert ask(engine, "POST", f"/containers/{sleeper}/pause")[0] == 204
    status, answer = ask(engine, "POST", f"/containers/{sleeper}/attach?stream=1&stdout=1")
    assert status == 409
    assert b"is paused, unpause the container before attach" in answer
    assert ask(engine, "POST", f"/containers/{sleeper}/unpause")[0] == 204


def test_wait_sends_its_head_before_the_start(engine: Engine) -> None:
    container = create(engine, "exit 7")
    with Wire(engine) as wire:
        wire.send("POST", f"/containers/{container}/wait?condition=next-exit")
        assert wire.read_head().startswith("HTTP/1.1 200")
        start(engine, container)
        assert b'{"StatusCode":7}' in wire.read_until(b"}")
    status, answer = ask(engine, "POST", f"/containers/{container}/wait?condition=soon")
    assert (status, b'invalid condition: \\"soon\\"' in answer) == (400, True)
    remove(engine, container)


def test_logs_must_name_a_stream_and_flush_their_head(engine: Engine, sleeper: str) -> None:
    status, answer = ask(engine, "GET", f"/containers/{sleeper}/logs")
    assert status == 400
    assert b"must specify at least one of 'stdout' or 'stderr'" in answer
    with Wire(engine) as wire:
        wire.send("GET", f"/containers/{sleeper}/logs?stderr=1&follow=1")
        assert "multiplexed-stream" in wire.read_head()


def test_stats_of_every_kind(engine: Engine, sleeper: str) -> None:
    def read(container: str, query: str) -> Reading:
        with contextlib.closing(engine.client()) as client:
            answer = client.request("GET", f"/containers/{container}/stats?{query}")
            return msgspec.json.decode(answer.read(), type=Reading)

    one, two = read(sleeper, "stream=0&one-shot=1"), read(sleeper, "stream=0")
    assert one.cpu_stats.system_cpu_usage > 0
    assert one.precpu_stats.system_cpu_usage == 0
    assert 0 < two.precpu_stats.system_cpu_usage < two.cpu_stats.system_cpu_usage
    created = create(engine, "true")
    none = read(created, "stream=0")
    assert (none.read, none.id) == ("0001-01-01T00:00:00Z", created)
    assert ask(engine, "GET", f"/containers/{sleeper}/stats?stream=1&one-shot=1")[0] == 400
    remove(engine, created)


def test_events_carry_legacy_fields_and_end_at_until(engine: Engine) -> None:
    container, later = create(engine, "true"), create(engine, "true")
    made = str(engine.get(f"/containers/{later}/json")["Created"])
    # Python reads microseconds, and Go writes nanoseconds.
    until = datetime.fromisoformat(f"{made[:26]}+00:00").timestamp()
    filters = "%7B%22container%22%3A%5B%22" + container + "%22%5D%7D"
    with Wire(engine) as wire:
        path = f"/events?since=1&until={until:.6f}&filters={filters}"
        wire.send("GET", path, "Connection: close\r\n")
        assert "Content-Type: application/json" in wire.read_head()
        event = json.loads(wire.read_all().split(b"\r\n")[1])
    assert (event["status"], event["id"], event["from"]) == ("create", container, "busybox")
    assert (event["Type"], event["Action"]) == ("container", "create")
    remove(engine, container)
    remove(engine, later)
