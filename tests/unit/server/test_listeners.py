import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, InvalidParameterError, SystemFailureError
from kedge.server.listeners import (
    adopt_listener,
    close_listener,
    inherited_listeners,
    open_listener,
)


def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "run" / "kedge.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    listener = open_listener(f"unix://{path}", groups=("no-such-group", group))
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == os.getgid()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    close_listener(listener)
    assert not path.exists()


def test_a_socket_left_by_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kedge.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    close_listener(open_listener(f"unix://{path}"))


def test_a_socket_of_a_living_engine_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kedge.sock"
    first = open_listener(f"unix://{path}")
    with pytest.raises(ConflictError, match="another engine listens on"):
        open_listener(f"unix://{path}")
    close_listener(first)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kedge.sock"
    path.write_text("precious")
    with pytest.raises(ConflictError, match="is not a socket"):
        open_listener(f"unix://{path}")
    assert path.read_text() == "precious"


def test_closing_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "kedge.sock"
    first = open_listener(f"unix://{path}")
    path.unlink()
    second = open_listener(f"unix://{path}")
    close_listener(first)
    assert path.exists()
    close_listener(second)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_tcp_tells_its_port(host: str) -> None:
    listener = open_listener(f"tcp://{host}:0")
    port = listener.sock.getsockname()[1]
    assert listener.address == f"tcp://{host}:{port}"
    with pytest.raises(ConflictError, match=f"address already in use: tcp://.*:{port}"):
        open_listener(listener.address)
    close_listener(listener)


@pytest.mark.parametrize(
    "address",
    ["", "kedge.sock", "unix://relative", "tcp://", "tcp://host", "tcp://h:x", "ftp://h:1"],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid address"):
        open_listener(address)


def test_what_the_host_refuses_is_said_in_one_line() -> None:
    with pytest.raises(SystemFailureError, match=r"cannot listen on tcp://192\.0\.2\.1:1: "):
        open_listener("tcp://192.0.2.1:1")


def test_inherited_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        name = server.getsockname()
        fd = os.dup(server.fileno())
    listener = adopt_listener(fd)
    assert listener.sock.getsockname() == name
    assert not listener.sock.get_inheritable()
    close_listener(listener)
    assert inherited_listeners({}) == []
    assert inherited_listeners({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
    with pytest.raises(InvalidParameterError, match="bad LISTEN_FDS"):
        inherited_listeners({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"})


def test_an_fd_that_is_no_socket_is_refused() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(InvalidParameterError, match="is not a socket"):
        adopt_listener(fd)
    os.close(fd)
