import asyncio
import json
import socket

import pytest

from kedge.api.streams import STDERR, STDOUT, frame
from kedge.server.limits import DEFAULT_LIMITS
from tests.unit.server.harness import RawClient, Stage, play, request_bytes, settle, until

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
ATTACH = "/v1.51/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"


async def attach(
    stage: Stage, *, target: str = ATTACH, headers: str = UPGRADE, early: bytes = b""
) -> tuple[RawClient, socket.socket, bytes]:
    """Return the client, the shim's end and the response head."""
    client = await stage.connect()
    await client.send(request_bytes("POST", target, headers=headers) + early)
    head = await client.receive_until(b"\r\n\r\n")
    shim = stage.engine.containers.shim
    assert shim is not None
    return client, shim, head


async def shim_reads(shim: socket.socket, size: int = 65536) -> bytes:
    return await asyncio.get_running_loop().sock_recv(shim, size)


async def shim_writes(shim: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(shim, data)


@pytest.mark.parametrize(
    ("target", "tty", "headers", "content_type"),
    [
        (ATTACH, False, UPGRADE, MULTIPLEXED),
        (ATTACH, True, UPGRADE, RAW),
        (ATTACH.replace("1.51", "1.41"), False, UPGRADE, RAW),
        (ATTACH, False, "", RAW),
    ],
)
def test_the_head_is_exactly_dockerd_s(
    target: str, *, tty: bool, headers: str, content_type: str
) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.containers.tty = tty
        _, _, head = await attach(stage, target=target, headers=headers)
        if headers:
            assert (
                head
                == (
                    f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\n"
                    "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                ).encode()
            )
        else:
            assert head == f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode()

    play(scenario)


@pytest.mark.parametrize("headers", [UPGRADE, ""])
def test_bytes_flow_both_ways_and_none_after_the_head_are_lost(headers: str) -> None:
    async def scenario(stage: Stage) -> None:
        # Input that would be a request, if anybody took it for HTTP.
        early = request_bytes("DELETE", "/containers/web")
        client, shim, _ = await attach(stage, headers=headers, early=early)
        assert await shim_reads(shim) == early
        await shim_writes(shim, frame(STDOUT, b"hello\n") + frame(STDERR, b"oh\n"))
        assert await client.receive_exactly(25) == frame(STDOUT, b"hello\n") + frame(
            STDERR, b"oh\n"
        )
        await client.send(b"more")
        assert await shim_reads(shim) == b"more"

    play(scenario)


def test_a_half_close_ends_stdin_and_output_goes_on() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage, early=b"last words")
        client.end_input()
        assert await shim_reads(shim) == b"last words"
        assert await shim_reads(shim) == b""
        for number in range(3):
            await shim_writes(shim, b"line %d\n" % number)
            assert await client.receive_exactly(7) == b"line %d\n" % number
        shim.shutdown(socket.SHUT_WR)
        assert await client.receive_all() == b""
        await stage.shared.nobody.wait()

    play(scenario)


def test_a_half_close_in_the_same_segment_as_the_head() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("POST", ATTACH, headers=UPGRADE) + b"all of it")
        client.end_input()
        await client.receive_until(b"\r\n\r\n")
        shim = stage.engine.containers.shim
        assert shim is not None
        assert await shim_reads(shim) == b"all of it"
        assert await shim_reads(shim) == b""
        await shim_writes(shim, b"answer")
        shim.close()
        assert await client.receive_all() == b"answer"

    play(scenario)


def test_the_end_of_output_ends_the_session_though_the_client_sends_on() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage)
        await shim_writes(shim, b"bye")
        shim.close()
        assert await client.receive_all() == b"bye"
        await stage.shared.nobody.wait()

    play(scenario)


def test_a_client_that_vanishes_does_not_end_stdin() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage)
        client.close()
        await stage.shared.nobody.wait()
        await settle()
        # A close, not a half-close: the shim sees both directions end at once.
        with pytest.raises(BrokenPipeError):
            await shim_writes(shim, b"x")

    play(scenario)


def test_a_client_that_vanishes_after_a_half_close_is_noticed() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage)
        client.end_input()
        assert await shim_reads(shim) == b""
        client.close()
        await stage.shared.nobody.wait()

    play(scenario, DEFAULT_LIMITS._replace(gone_check_s=0.01))


def test_detach_keys_end_the_session_of_a_terminal() -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.containers.tty = True
        client, shim, _ = await attach(stage, target=f"{ATTACH}&detachKeys=ctrl-x,y")
        await client.send(b"a\x18")
        assert await shim_reads(shim) == b"a"
        await client.send(b"z\x18yignored")
        assert await shim_reads(shim) == b"\x18z"
        assert await client.receive_all() == b""
        assert stage.engine.containers.detached == 1

    play(scenario)


def test_without_a_terminal_the_detach_keys_are_data() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage)
        await client.send(b"\x10\x11")
        assert await shim_reads(shim) == b"\x10\x11"
        assert stage.engine.containers.detached == 0

    play(scenario)


def test_without_stdin_the_client_s_input_goes_nowhere() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage, target=ATTACH.replace("stdin=1", "stdin=0"))
        await client.send(b"dropped")
        client.end_input()
        await shim_writes(shim, b"output")
        assert await client.receive_exactly(6) == b"output"
        with pytest.raises(BlockingIOError):
            shim.recv(10)

    play(scenario)


def test_history_comes_first() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage, target=f"{ATTACH}&logs=1")
        await shim_writes(shim, frame(STDOUT, b"now\n"))
        expected = frame(STDOUT, b"before\n") + frame(STDOUT, b"now\n")
        assert await client.receive_exactly(len(expected)) == expected

    play(scenario)


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        (ATTACH.replace("web", "nope"), 404, "No such container: nope"),
        (f"{ATTACH}&detachKeys=huh", 400,
         "invalid detach keys (huh) provided: Unknown character: 'huh'"),
    ],
)  # fmt: skip
def test_a_failure_before_the_hijack_is_ordinary(target: str, status: int, message: str) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("POST", target, headers=UPGRADE)
        assert (got.status, json.loads(got.body)) == (status, {"message": message})
        assert (await client.get("/_ping")).status == 200

    play(scenario)


def test_output_waits_for_a_slow_client() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect(buffer_bytes=16_384)
        await client.send(request_bytes("POST", ATTACH, headers=UPGRADE))
        await client.receive_until(b"\r\n\r\n")
        shim = stage.engine.containers.shim
        assert shim is not None
        payload = bytes(range(256)) * 40_000
        writer = asyncio.ensure_future(shim_writes(shim, payload))
        await settle(500)
        assert not writer.done()
        assert await client.receive_exactly(len(payload)) == payload
        await writer

    play(scenario, DEFAULT_LIMITS._replace(write_buffer_bytes=65_536))


def test_input_waits_for_a_slow_process() -> None:
    async def scenario(stage: Stage) -> None:
        client, shim, _ = await attach(stage)
        payload = bytes(range(256)) * 40_000
        sender = asyncio.ensure_future(client.send(payload))
        await settle(500)
        assert not sender.done()
        received = b""
        while len(received) < len(payload):
            received += await shim_reads(shim)
        assert received == payload
        await sender

    play(scenario)


def test_output_for_docker_py_does_not_arrive_with_the_head() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        headers = f"{UPGRADE}User-Agent: docker-sdk-python/7.2.0\r\n"
        await client.send(request_bytes("POST", f"{ATTACH}&logs=1", headers=headers))
        await settle()
        assert (await client.receive()).endswith(b"\r\n\r\n")
        assert await client.receive() == frame(STDOUT, b"before\n")

    play(scenario)


def test_exec_is_hijacked_after_its_body() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        body = b'{"Detach":false,"Tty":true}'
        request = request_bytes("POST", "/v1.51/exec/abc/start", headers=UPGRADE, body=body)
        await client.send(request + b"typed ahead")
        head = await client.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: " + RAW.encode())
        await until(lambda: stage.engine.execs.shim is not None)
        shim = stage.engine.execs.shim
        assert shim is not None
        assert await shim_reads(shim) == b"typed ahead"
        await shim_writes(shim, b"# ")
        assert await client.receive_exactly(2) == b"# "

    play(scenario)


@pytest.mark.parametrize("tty", [False, True])
def test_an_exec_that_cannot_start_says_so_in_the_stream(*, tty: bool) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        body = json.dumps({"Detach": False, "Tty": tty}).encode()
        await client.send(
            request_bytes("POST", "/v1.51/exec/missing/start", headers=UPGRADE, body=body)
        )
        await client.receive_until(b"\r\n\r\n")
        text = b'exec: "nope": executable file not found in $PATH: unknown\r\n'
        assert await client.receive_all() == (text if tty else frame(STDERR, text))

    play(scenario)


def test_exec_detached_and_unknown() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("POST", "/exec/abc/start", body=b'{"Detach":true}')
        assert (got.status, got.body) == (200, b"")
        got = await client.ask("POST", "/exec/unknown/start", headers=UPGRADE, body=b"{}")
        assert got.status == 404
        got = await client.ask("POST", "/exec/missing/start", body=b'{"Detach":true}')
        assert got.status == 400

    play(scenario)


def test_a_session_ends_when_the_server_closes() -> None:
    async def scenario(stage: Stage) -> None:
        client, _, _ = await attach(stage)
        (connection,) = stage.shared.connections
        connection.abort()
        assert await client.receive_all() == b""
        await stage.shared.nobody.wait()

    play(scenario)


@pytest.mark.parametrize("late", [False, True])
def test_a_request_behind_a_failed_exec_meets_no_reset(*, late: bool) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        follower = request_bytes("GET", "/_ping") * 3000
        start = request_bytes("POST", "/v1.51/exec/missing/start", headers=UPGRADE, body=b"{}")
        await client.send(start if late else start + follower[:100_000])
        await client.receive_until(b"\r\n\r\n")
        if late:
            await client.send(follower[:100_000])
        # A reset would raise here, and take the reason from the client.
        assert b"executable file not found" in await client.receive_all()
        client.end_input()
        await until(lambda: not stage.shared.connections)

    play(scenario)


@pytest.mark.parametrize(
    ("target", "headers", "echoed"),
    [
        ("/grpc", "", b"control:hello"),
        (
            "/v1.51/session",
            "X-Docker-Expose-Session-Uuid: abc\r\nX-Docker-Expose-Session-Sharedkey: app\r\n",
            b"abc/app:hello",
        ),
    ],
)
def test_buildkit_gets_the_connection_after_the_switch_to_http2(
    target: str, headers: str, echoed: bytes
) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        upgrade = f"Connection: Upgrade\r\nUpgrade: h2c\r\n{headers}"
        await client.send(request_bytes("POST", target, headers=upgrade) + b"hello")
        head = await client.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"Upgrade: h2c\r\n" in head
        assert await client.receive_until(b"hello") == echoed

    play(scenario)
