"""Whether a start that is told of needs a new look at the log."""

import socket
import threading
from pathlib import Path

from kedge.client.hosts import Host
from kedge.compose.clients import ClientPool
from kedge.compose.following import Follower


def test_a_container_that_ended_before_its_start_was_looked_at_is_not_read_again(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "engine.sock")
    printed: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nall of it"
                )

        engine = threading.Thread(target=answer)
        engine.start()
        follower = Follower(
            ClientPool(Host(path=path)), "shop", lambda _name, _stream, data: printed.append(data)
        )
        follower.attach("b", "shop-b-1")
        engine.join()
        follower.drain("b", 60)
        assert not follower.follows("b")
        assert follower.covers("b")
        assert b"".join(printed) == b"all of it"
        # Its next run is another one.
        follower.ended("b")
        assert not follower.covers("b")
