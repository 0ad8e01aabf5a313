"""The userland proxy between sockets of the loopback."""

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kedge.network.proxy import Listener, UserlandProxy

pytestmark = pytest.mark.integration

SIZE = 8 << 20
TIMEOUT_S = 60.0


@pytest.fixture
def proxy() -> Iterator[UserlandProxy]:
    running = UserlandProxy()
    yield running
    running.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(TIMEOUT_S)
        yield listening


def publish(proxy: UserlandProxy, server: socket.socket) -> tuple[Listener, tuple[str, int]]:
    claimed = socket.create_server(("127.0.0.1", 0))
    address = claimed.getsockname()
    return proxy.add(claimed, server.getsockname()), address


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    while data := connection.recv(65536):
        parts.append(data)
    return b"".join(parts)


def test_much_data_in_both_directions_with_half_close(
    proxy: UserlandProxy, server: socket.socket
) -> None:
    listener, address = publish(proxy, server)
    question, answer = os.urandom(SIZE), os.urandom(SIZE)
    seen: list[str] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            # The answer begins only when the question has ended: half-close must pass through.
            seen.append(hashlib.sha256(read_all(connection)).hexdigest())
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    with socket.create_connection(address, TIMEOUT_S) as client:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == answer
    thread.join()
    assert seen == [hashlib.sha256(question).hexdigest()]
    wait_until(lambda: not listener.relays)


def test_a_slow_reader_slows_the_sender(proxy: UserlandProxy, server: socket.socket) -> None:
    _listener, address = publish(proxy, server)
    with socket.create_connection(address, TIMEOUT_S) as client:
        connection, _ = server.accept()
        with connection:
            client.settimeout(0.3)
            # The sockets take what they hold, and the proxy one buffer; not all of this.
            with pytest.raises(TimeoutError):
                client.sendall(b"x" * (64 << 20))


def test_a_refused_connection_ends_the_clients(proxy: UserlandProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        target = gone.getsockname()
    claimed = socket.create_server(("127.0.0.1", 0))
    address = claimed.getsockname()
    listener = proxy.add(claimed, target)
    with socket.create_connection(address, TIMEOUT_S) as client:
        assert client.recv(1) == b""
    wait_until(lambda: not listener.relays)


def test_a_vanished_client_is_noticed(proxy: UserlandProxy, server: socket.socket) -> None:
    listener, address = publish(proxy, server)
    client = socket.create_connection(address, TIMEOUT_S)
    connection, _ = server.accept()
    with connection:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        connection.settimeout(TIMEOUT_S)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    wait_until(lambda: not listener.relays)


def test_removing_a_port_frees_it_and_ends_its_connections(
    proxy: UserlandProxy, server: socket.socket
) -> None:
    listener, address = publish(proxy, server)
    _other, other_address = publish(proxy, server)
    with socket.create_connection(address, TIMEOUT_S) as client:
        connection, _ = server.accept()
        with connection:
            proxy.remove(listener)
            with socket.create_server(address):
                assert client.recv(1) == b""
    with socket.create_connection(other_address, TIMEOUT_S) as client:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"hello")
            assert client.recv(5) == b"hello"


def test_an_idle_proxy_uses_no_processor(proxy: UserlandProxy, server: socket.socket) -> None:
    _listener, address = publish(proxy, server)
    with socket.create_connection(address, TIMEOUT_S) as client:
        connection, _ = server.accept()
        with connection:
            # Half-closed on both outer sides in turn: the states in which a loop could spin.
            client.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            before = time.process_time()
            time.sleep(0.3)
            assert time.process_time() - before < 0.1


def test_datagrams_find_their_way_back(proxy: UserlandProxy) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(TIMEOUT_S)
        claimed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        claimed.bind(("127.0.0.1", 0))
        address = claimed.getsockname()
        listener = proxy.add(claimed, server.getsockname())
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for number, client in enumerate(clients):
            client.settimeout(TIMEOUT_S)
            client.sendto(b"%d" % number, address)
        for _ in clients:
            data, sender = server.recvfrom(100)
            server.sendto(b"answer " + data, sender)
        for number, client in enumerate(clients):
            assert client.recvfrom(100) == (b"answer %d" % number, address)
            client.close()
        assert len(listener.flows) == 3
        proxy.remove(listener)
        wait_until(lambda: not listener.flows)
