import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.api.options import AttachOptions, BuildOptions
from kedge.api.streams import AttachedStream
from kedge.api.types.container import WaitResponse
from kedge.api.types.progress import ProgressMessage
from kedge.api.types.system import Info
from kedge.errdefs import InvalidParameterError
from kedge.server.connection import Connection
from kedge.server.limits import DEFAULT_LIMITS
from tests.unit.server.harness import RawClient, Stage, play, request_bytes, settle, until

PING = request_bytes("GET", "/_ping")
LONG = "/containers/web/logs?stdout=1&follow=1"


def test_ping_is_what_every_client_expects() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("HEAD", "/_ping")
        assert got.status == 200
        assert got.headers == {
            "api-version": "1.51",
            "docker-experimental": "false",
            "ostype": "linux",
            "server": "Docker/28.2.2 (linux)",
            "date": "Tue, 14 Nov 2023 22:13:20 GMT",
            "content-type": "text/plain; charset=utf-8",
            "content-length": "0",
            "builder-version": "1",
            "cache-control": "no-cache, no-store, must-revalidate",
            "pragma": "no-cache",
            "swarm": "inactive",
        }
        assert (await client.get("/v1.51/_ping")).body == b"OK"

    play(scenario)


def test_requests_of_a_pipeline_are_answered_in_order() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            PING
            + request_bytes("POST", "/containers/create", body=b"{}")
            + request_bytes("GET", "/nothing")
            + request_bytes("GET", "/containers/web/json")
            + PING
        )
        answers = [await client.answer() for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 201, 404, 200, 200]
        assert json.loads(answers[3].body)["Name"] == "/web"

    play(scenario)


def test_a_request_may_come_in_two_pieces_split_anywhere() -> None:
    chunked = (
        b"POST /containers/create HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"Ima\r\n9\r\nge\": \"x\"}\r\n0\r\n\r\n"
    )  # fmt: skip
    data = PING + chunked + PING

    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        for at in range(1, len(data)):
            await client.send(data[:at])
            await settle(3)
            await client.send(data[at:])
            statuses = [(await client.answer()).status for _ in range(3)]
            assert statuses == [200, 201, 200], at
        assert {request.image for request in stage.engine.containers.created} == {"x"}

    play(scenario)


def test_an_idle_connection_has_neither_task_nor_timer() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.get("/_ping")
        await settle()
        (connection,) = stage.shared.connections
        assert isinstance(connection, Connection)
        assert connection.is_idle

    play(scenario)


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("/nothing", 404, "page not found"),
        ("/v1.51/nothing", 404, "page not found"),
        ("/v1.10/info", 400,
         ("client version 1.10 is too old. Minimum supported API version is 1.24, "
          "please upgrade your client to a newer version")),
        ("/v1.99/info", 400,
         "client version 1.99 is too new. Maximum supported API version is 1.51"),
        ("/v2/info", 400, "invalid API version '2': use a form such as 1.51"),
        ("/containers/nope/json", 404, "No such container: nope"),
        ("/services", 503,
         ('This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
          "to connect this node to swarm and try again.")),
        ("/plugins/x/json", 404, 'plugin "x" not found'),
        ("/containers/web/attach/ws", 400,
         "not a websocket handshake: want Upgrade: websocket and a Sec-WebSocket-Key"),
        ("/containers/web/logs", 400,
         "must specify at least one of 'stdout' or 'stderr'"),
        ("/events?since=2&until=1", 400,
         "`since` time (2) cannot be after `until` time (1)"),
        ("/networks?filters=%7B%22x%22:%5B%22y%22%5D%7D", 400, "invalid filter 'x'"),
    ],
)  # fmt: skip
def test_failures_are_docker_s_json(target: str, status: int, message: str) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.get(target)
        assert got.status == status
        assert json.loads(got.body) == {"message": message}
        assert got.headers["content-type"] == "application/json"
        assert got.headers["api-version"] == "1.51"
        assert (await client.get("/_ping")).status == 200

    play(scenario)


def test_a_wrong_method_is_not_found() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("PUT", "/containers/json")
        assert (got.status, json.loads(got.body)) == (404, {"message": "page not found"})

    play(scenario)


def test_not_modified_has_no_body_and_the_connection_lives_on() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("POST", "/containers/web/stop?t=3&signal=HUP")
        assert got.status == 304
        assert "content-length" not in got.headers
        assert ("stop", "web", "HUP", 3) in stage.engine.containers.calls
        assert (await client.get("/_ping")).status == 200

    play(scenario)


def test_plain_lists_of_an_engine_without_plugins() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        assert json.loads((await client.get("/plugins")).body) == []
        volumes = json.loads((await client.get("/volumes")).body)
        assert volumes == {"Volumes": [], "Warnings": None}

    play(scenario)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: k\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400),
        (b"POST / HTTP/1.1\r\nHost: k\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000, 431),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_nothing_after_it_is_read(
    data: bytes, status: int
) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(data + request_bytes("DELETE", "/containers/web"))
        got = await client.answer()
        assert got.status == status
        assert got.headers["connection"] == "close"
        assert await client.receive_all() == b""
        assert stage.engine.containers.calls == []

    play(scenario, DEFAULT_LIMITS._replace(head_bytes=100_000))


def test_a_malformed_chunk_fails_the_request_and_ends_the_connection() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            b"POST /containers/create HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + request_bytes("DELETE", "/containers/w")
        )
        got = await client.answer()
        assert got.status == 400
        assert json.loads(got.body) == {"message": "malformed chunk size"}
        assert await client.receive_all() == b""
        assert stage.engine.containers.calls == []

    play(scenario)


def test_a_slow_head_is_given_up() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(b"GET /_ping HTTP/1.1\r\nHost:")
        assert (await client.answer()).status == 408
        assert await client.receive_all() == b""

    play(scenario, DEFAULT_LIMITS._replace(head_timeout_s=0.01))


def test_a_client_that_tries_tls_first_is_not_kept_waiting() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(b"\x16\x03\x01\x02\x00\x01")
        got = await client.answer()
        assert got.status == 400
        assert json.loads(got.body)["message"] == "client sent a TLS handshake to an HTTP server"

    play(scenario)


def test_a_slow_json_body_is_given_up() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            b"POST /containers/create HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10\r\n\r\n{"
        )
        got = await client.answer()
        assert got.status == 400
        assert b"did not arrive in time" in got.body

    play(scenario, DEFAULT_LIMITS._replace(json_timeout_s=0.01))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_json_body_has_a_limit(*, chunked: bool) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        body = b" " * 2000
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 2000"
        await client.send(
            b"POST /containers/create HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"
            + framing
            + b"\r\n\r\n"
            + (b"7d0\r\n" + body + b"\r\n0\r\n\r\n" if chunked else body)
        )
        got = await client.answer()
        assert (got.status, json.loads(got.body)) == (
            400,
            {"message": "request body too large: more than 1000 bytes"},
        )
        # The rest of the body is skipped, and the next request understood.
        assert (await client.get("/_ping")).status == 200

    play(scenario, DEFAULT_LIMITS._replace(json_bytes=1000))


def test_an_unread_body_is_skipped_when_it_is_small() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        head = b"POST /nothing HTTP/1.1\r\nHost: k\r\nContent-Length: 500\r\n\r\n"
        await client.send(head + b"x" * 100)
        assert (await client.answer()).status == 404
        await client.send(b"x" * 200)
        await settle()
        await client.send(b"x" * 200 + PING)
        assert (await client.answer()).body == b"OK"

    play(scenario)


def test_an_unread_body_ends_the_connection_when_it_is_large() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            b"POST /nothing HTTP/1.1\r\nHost: k\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 1000
        )
        got = await client.answer()
        assert (got.status, got.headers["connection"]) == (404, "close")
        # The client is still sending: it must not be met with a reset.
        await client.send(b"x" * 1000)
        client.end_input()
        assert await client.receive_all() == b""

    play(scenario)


def test_a_client_that_waits_for_100_continue_gets_it_when_its_body_is_wanted() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        head = (
            b"POST %b HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        await client.send(head % b"/containers/create")
        assert (await client.answer_head())[0] == 100
        await client.send(b"{}")
        assert (await client.answer()).status == 201
        # Refused without the body: nobody knows whether it still comes.
        await client.send(head % b"/nothing")
        got = await client.answer()
        assert (got.status, got.headers["connection"]) == (404, "close")

    play(scenario)


def test_http_1_0_gets_no_chunks_and_is_closed() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(b"GET /containers/web/logs?stdout=1 HTTP/1.0\r\n\r\n")
        got = await client.answer()
        assert "transfer-encoding" not in got.headers
        assert got.body == b"".join(stage.engine.containers.log_chunks)

    play(scenario)


def test_connection_close_is_honoured() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.get("/_ping", headers="Connection: close\r\n")
        assert got.headers["connection"] == "close"
        assert await client.receive_all() == b""

    play(scenario)


def test_a_stream_is_flushed_piece_by_piece_and_its_head_before_the_first() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("GET", "/events"))
        status, headers = await client.answer_head()
        assert (status, headers["content-type"]) == (200, "application/json")
        stage.engine.system.more_events.set()
        events = [chunk async for chunk in client.chunks()]
        (event,) = (json.loads(chunk) for chunk in events)
        assert event["status"] == event["Action"] == "start"
        assert event["from"] == "busybox"
        assert event["id"] == event["Actor"]["ID"]
        assert (await client.get("/_ping")).status == 200

    play(scenario)


def test_wait_answers_its_head_at_once() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("POST", "/containers/web/wait?condition=next-exit"))
        status, _ = await client.answer_head()
        assert status == 200
        stage.engine.containers.exited.set_result(WaitResponse(status_code=3))
        (body,) = [chunk async for chunk in client.chunks()]
        assert json.loads(body) == {"StatusCode": 3}

    play(scenario)


def test_a_client_that_vanishes_ends_a_stream() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("GET", LONG))
        await client.answer_head()
        client.close()
        await stage.engine.containers.logs_left.wait()
        await stage.shared.nobody.wait()

    play(scenario)


def test_a_client_that_stops_sending_still_gets_its_stream() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("GET", LONG))
        client.end_input()
        await client.answer_head()
        await settle()
        assert not stage.engine.containers.logs_left.is_set()
        stage.engine.containers.follow_forever.set()
        chunks = [chunk async for chunk in client.chunks()]
        assert chunks == stage.engine.containers.log_chunks
        assert await client.receive_all() == b""

    play(scenario)


def test_a_client_that_stops_sending_and_vanishes_later_ends_its_stream() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("GET", LONG))
        client.end_input()
        await client.answer_head()
        client.close()
        await stage.engine.containers.logs_left.wait()

    play(scenario, DEFAULT_LIMITS._replace(gone_check_s=0.01))


def test_a_change_is_finished_though_its_client_has_vanished() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        began, finish, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow_kill(ref: str, *, signal: str) -> None:
            del ref, signal
            began.set()
            await finish.wait()
            done.set()

        stage.engine.containers.kill = slow_kill  # type: ignore[method-assign]
        await client.send(request_bytes("POST", "/containers/web/kill"))
        await began.wait()
        client.close()
        await stage.shared.nobody.wait()
        finish.set()
        await done.wait()

    play(scenario)


def test_a_body_that_breaks_off_fails_the_request() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            b"POST /containers/create HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10\r\n\r\n{"
        )
        await settle()
        client.end_input()
        got = await client.answer()
        assert (got.status, json.loads(got.body)) == (
            400,
            {"message": "unexpected EOF in the request body"},
        )
        assert await client.receive_all() == b""

    play(scenario)


def test_a_slow_reader_stops_the_source() -> None:
    async def scenario(stage: Stage) -> None:
        produced = 0

        async def source(*, follow: bool) -> AsyncIterator[bytes]:
            nonlocal produced
            assert not follow
            for _ in range(2000):
                produced += 1
                yield b"x" * 10_000

        stage.engine.containers._log_chunks = source  # type: ignore[method-assign]
        client = await stage.connect(buffer_bytes=16_384)
        await client.send(request_bytes("GET", "/containers/web/logs?stdout=1"))
        await client.answer_head()
        await settle(500)
        # 64 kB may be unsent in the server, and somewhat more in the kernel.
        assert produced < 100
        total = sum([len(chunk) async for chunk in client.chunks()])
        assert total == 2000 * 10_000

    play(scenario, DEFAULT_LIMITS._replace(write_buffer_bytes=65_536))


def test_a_fast_sender_is_stopped_while_a_request_is_under_way() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("GET", LONG))
        await client.answer_head()
        sender = asyncio.ensure_future(client.send(PING * 100_000))
        await settle(2000)
        assert not sender.done()
        (connection,) = stage.shared.connections
        assert isinstance(connection, Connection)
        assert connection.unread_bytes < 1_000_000
        sender.cancel()

    play(scenario)


def test_a_failing_stream_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        async def broken(*, follow: bool) -> AsyncIterator[bytes]:
            yield b"some"
            raise OSError(f"disk, follow={follow}")

        stage.engine.containers._log_chunks = broken  # type: ignore[method-assign]
        client = await stage.connect()
        await client.send(request_bytes("GET", LONG))
        await client.answer_head()
        with pytest.raises(AssertionError, match="closed the connection"):
            [chunk async for chunk in client.chunks()]

    play(scenario)
    assert "broke off" in caplog.text


def test_an_unforeseen_failure_is_a_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        async def broken() -> Info:
            raise ZeroDivisionError("division by zero")

        stage.engine.system.info = broken  # type: ignore[method-assign]
        client = await stage.connect()
        got = await client.get("/info")
        assert (got.status, json.loads(got.body)) == (500, {"message": "division by zero"})

    play(scenario)
    assert "ZeroDivisionError" in caplog.text


def test_closing_waits_for_answers_under_way() -> None:
    async def scenario(stage: Stage) -> None:
        idle = await stage.connect()
        busy = await stage.connect()
        await idle.get("/_ping")
        await busy.send(request_bytes("GET", LONG))
        await busy.answer_head()
        for connection in list(stage.shared.connections):
            connection.close_when_idle()
        assert await idle.receive_all() == b""
        stage.engine.containers.follow_forever.set()
        assert [chunk async for chunk in busy.chunks()] == stage.engine.containers.log_chunks
        await stage.shared.nobody.wait()

    play(scenario)


def test_tcp_cannot_tell_a_half_close_so_it_ends_what_would_never_end() -> None:
    async def scenario(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        ours.settimeout(0)
        theirs.settimeout(0)
        await loop.connect_accepted_socket(lambda: Connection(stage.shared), theirs)
        client = RawClient(ours)
        await client.send(request_bytes("GET", LONG))
        await client.answer_head()
        client.end_input()
        await stage.engine.containers.logs_left.wait()
        ours.close()

    play(scenario)


def test_many_idle_connections_cost_little() -> None:
    async def scenario(stage: Stage) -> None:
        clients = [await stage.connect() for _ in range(50)]
        for client in clients:
            assert (await client.get("/_ping")).status == 200
        assert len(stage.shared.connections) == 50
        await until(lambda: len(asyncio.all_tasks()) == 1)

    play(scenario)


def test_a_build_refused_while_the_context_comes_ends_the_connection_without_a_reset() -> None:
    async def scenario(stage: Stage) -> None:
        async def build(
            options: BuildOptions, body: AsyncIterator[bytes]
        ) -> AsyncIterator[ProgressMessage]:
            del options
            return refuse(body)

        async def refuse(body: AsyncIterator[bytes]) -> AsyncIterator[ProgressMessage]:
            yield ProgressMessage(stream=f"{len(await anext(body))} bytes\n")
            raise InvalidParameterError("dockerfile parse error on line 1")

        stage.engine.builds.build = build  # type: ignore[method-assign]
        client = await stage.connect()
        await client.send(
            b"POST /build HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        got = await client.answer()
        assert got.body.endswith(b'"error":"dockerfile parse error on line 1"}\r\n')
        for _ in range(20):
            await client.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await settle(5)
        client.end_input()
        assert await client.receive_all() == b""

    play(scenario)


def test_an_attach_whose_client_has_gone_before_leaves_no_socket() -> None:
    async def scenario(stage: Stage) -> None:
        attach, go_on = stage.engine.containers.attach, asyncio.Event()

        async def slow_attach(ref: str, options: AttachOptions) -> AttachedStream:
            await go_on.wait()
            return await attach(ref, options)

        stage.engine.containers.attach = slow_attach  # type: ignore[method-assign]
        client = await stage.connect()
        await client.send(request_bytes("POST", "/containers/web/attach?stream=1&stdin=1"))
        await settle()
        client.close()
        await stage.shared.nobody.wait()
        go_on.set()
        await until(lambda: stage.engine.containers.shim is not None)
        await settle()
        shim = stage.engine.containers.shim
        assert shim is not None
        assert shim.recv(1) == b""

    play(scenario)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([
    PING, b"\r\n", b"\0", b"GET / HTTP/1.1\r\n", b"Host: k\r\n", b"\r\n\r\n", b"5\r\nabc",
    request_bytes("POST", "/containers/create", body=b"{}"), b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"POST /exec/unknown/start HTTP/1.1\r\nHost: k\r\n",
    request_bytes("GET", LONG),
]) | st.binary(max_size=8), max_size=8))  # fmt: skip
def test_no_bytes_leave_a_connection_behind(pieces: list[bytes]) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.containers.follow_forever.set()
        client = await stage.connect()
        for piece in pieces:
            with contextlib.suppress(BrokenPipeError):
                await client.send(piece)
            await settle(3)
        with contextlib.suppress(OSError):
            client.end_input()
        await client.receive_all()
        await until(lambda: not stage.shared.connections)

    play(scenario)
