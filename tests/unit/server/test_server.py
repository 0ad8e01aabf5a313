import asyncio
from pathlib import Path

from kedge.server.listeners import open_listener
from kedge.server.server import Server
from tests.unit.server.fakes import IDENTITY, FakeEngine
from tests.unit.server.harness import DEADLINE_S, request_bytes


def test_the_server_serves_and_closes_all_its_listeners(tmp_path: Path) -> None:
    path = tmp_path / "kedge.sock"

    async def scenario() -> None:
        server = Server(FakeEngine().backends, IDENTITY)
        tcp = open_listener("tcp://127.0.0.1:0")
        port: int = tcp.sock.getsockname()[1]
        await server.serve([open_listener(f"unix://{path}"), tcp])
        over_unix = await asyncio.open_unix_connection(str(path))
        over_tcp = await asyncio.open_connection("127.0.0.1", port)
        for reader, writer in (over_unix, over_tcp):
            writer.write(request_bytes("GET", "/_ping"))
            assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.connection_count == 2
        over_unix[1].write(request_bytes("GET", "/events"))
        await over_unix[0].readuntil(b"\r\n\r\n")
        # The event stream never ends by itself: it is cut when the grace is over.
        await server.close(grace_s=0.01)
        assert server.connection_count == 0
        assert await over_tcp[0].read() == b""
        for _, writer in (over_unix, over_tcp):
            writer.close()
        assert not path.exists()

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))
