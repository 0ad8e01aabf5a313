import os
import pty
import select
import socket
import tty
from collections.abc import Callable, Iterator

import pytest

from kedge.lib.jsontypes import JsonObject
from kedge.shim.luggage import Luggage
from kedge.shim.messages import STDERR, STDOUT
from kedge.shim.reactor import Reactor
from kedge.shim.streams import Pipes, Streams, open_pipes

BOTH = frozenset({STDOUT, STDERR})


class ListLog:
    def __init__(self) -> None:
        self.is_backed_up = False
        self.relieve: Callable[[], None] = lambda: None
        self.chunks: list[tuple[int, bytes]] = []
        self.closed = False

    def when_relieved(self, tell: Callable[[], None]) -> None:
        self.relieve = tell

    def write(self, stream: int, chunk: bytes) -> None:
        self.chunks.append((stream, chunk))

    def try_pack(self, _luggage: Luggage) -> JsonObject:
        return {}

    def close(self) -> None:
        self.closed = True

    def text(self, stream: int) -> bytes:
        return b"".join(chunk for number, chunk in self.chunks if number == stream)


class Bench:
    """Streams with the process's ends of its pipes in the test's hand."""

    def __init__(self, *, stdin: bool = True, stdin_once: bool = True) -> None:
        self.reactor = Reactor()
        self.log = ListLog()
        self.streams = Streams(self.reactor, log=self.log, close_stdin_once=stdin_once)
        pipes = open_pipes(stdin=stdin, stdout=True, stderr=True)
        self.stdin, self.stdout, self.stderr = pipes.theirs
        self.streams.use_pipes(pipes)
        self._sockets: list[socket.socket] = []

    def attach(self, streams: frozenset[int] = BOTH, *, feeds: bool = False) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.streams.attach(theirs, streams, feeds=feeds)
        ours.settimeout(0)
        self._sockets.append(ours)
        return ours

    def spin(self, until: Callable[[], bool]) -> None:
        spin(self.reactor, until)

    def end_output(self) -> None:
        os.close(self.stdout)
        os.close(self.stderr)
        self.stdout = self.stderr = -1
        self.spin(lambda: self.streams.is_silent)

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.streams.finish()
        self.streams.drop_clients()
        for each in self._sockets:
            each.close()


def spin(reactor: Reactor, until: Callable[[], bool]) -> None:
    late: list[bool] = []
    guard = reactor.call_later(10, lambda: late.append(True))
    while not until():
        assert not late, "nothing happened for too long"
        # What is waited for may not be an event of the reactor.
        reactor.call_later(0.001, lambda: None)
        reactor.run_once()
    guard.cancel()


def receive_all(connection: socket.socket, reactor: Reactor) -> bytes:
    """Read until end of file while the streams work."""
    data = bytearray()

    def ended() -> bool:
        try:
            while chunk := connection.recv(1 << 20):
                data.extend(chunk)
        except BlockingIOError:
            return False
        return True

    reactor.watch(connection.fileno(), 1, lambda _events: None)
    spin(reactor, ended)
    reactor.forget(connection.fileno())
    return bytes(data)


def unframe(data: bytes) -> dict[int, bytes]:
    streams = {STDOUT: b"", STDERR: b""}
    while data:
        assert data[1:4] == b"\0\0\0"
        length = int.from_bytes(data[4:8], "big")
        streams[data[0]] += data[8 : 8 + length]
        data = data[8 + length :]
    return streams


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_output_goes_to_log_and_clients_framed(bench: Bench) -> None:
    everything, only_err = bench.attach(), bench.attach(frozenset({STDERR}))
    os.write(bench.stdout, b"out")
    os.write(bench.stderr, b"err")
    bench.end_output()
    bench.streams.finish()
    assert unframe(receive_all(everything, bench.reactor)) == {STDOUT: b"out", STDERR: b"err"}
    assert receive_all(only_err, bench.reactor) == b"\x02\0\0\0\0\0\0\x03err"
    assert (bench.log.text(STDOUT), bench.log.text(STDERR)) == (b"out", b"err")
    assert bench.log.closed


def test_a_slow_client_holds_the_program_back_and_loses_nothing(bench: Bench) -> None:
    client = bench.attach()
    os.set_blocking(bench.stdout, False)
    sent = 0

    def stuck() -> bool:
        nonlocal sent
        try:
            while True:
                sent += os.write(bench.stdout, bytes(65536))
        except BlockingIOError:
            return bench.streams.is_paused

    bench.spin(stuck)
    before = sent
    assert before < 4 << 20
    assert len(bench.log.text(STDOUT)) <= before
    os.close(bench.stdout)
    os.close(bench.stderr)
    bench.stdout = bench.stderr = -1
    bench.streams.on_silent = bench.streams.finish
    assert len(unframe(receive_all(client, bench.reactor))[STDOUT]) == before
    assert len(bench.log.text(STDOUT)) == before


def test_a_vanished_client_is_dropped_and_the_program_goes_on(bench: Bench) -> None:
    client = bench.attach()
    os.set_blocking(bench.stdout, False)
    sent = 0

    def write_more() -> None:
        nonlocal sent
        try:
            while True:
                sent += os.write(bench.stdout, bytes(65536))
        except BlockingIOError:
            return

    def stuck() -> bool:
        write_more()
        return bench.streams.is_paused

    bench.spin(stuck)
    client.close()
    bench.spin(lambda: bench.streams.is_flushed and not bench.streams.is_paused)
    bench.end_output()
    assert len(bench.log.text(STDOUT)) == sent


def test_an_idle_client_that_goes_is_noticed(bench: Bench) -> None:
    bench.attach().close()
    bench.spin(lambda: bench.streams.is_flushed)


def test_a_backlog_is_delivered_after_the_end(bench: Bench) -> None:
    client = bench.attach()
    payload = os.urandom(200_000)
    for sent in (1, 2, 3):
        os.write(bench.stdout, payload)
        whole = sent * len(payload)
        bench.spin(lambda whole=whole: len(bench.log.text(STDOUT)) == whole)  # type: ignore[misc]
    bench.streams.drain()
    bench.streams.finish()
    assert not bench.streams.is_flushed
    assert unframe(receive_all(client, bench.reactor))[STDOUT] == payload * 3
    bench.spin(lambda: bench.streams.is_flushed)


def test_half_close_ends_the_input_and_output_goes_on(bench: Bench) -> None:
    client = bench.attach(feeds=True)
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    os.set_blocking(bench.stdin, False)
    got = bytearray()

    def ended() -> bool:
        try:
            chunk = os.read(bench.stdin, 100)
        except BlockingIOError:
            return False
        got.extend(chunk)
        return not chunk

    bench.spin(ended)
    assert got == b"question"
    os.write(bench.stdout, b"answer")
    bench.end_output()
    bench.streams.finish()
    assert unframe(receive_all(client, bench.reactor))[STDOUT] == b"answer"


def test_input_stays_open_without_stdin_once() -> None:
    bench = Bench(stdin_once=False)
    for word in (b"one", b"two"):
        client = bench.attach(feeds=True)
        client.sendall(word)
        client.close()
        os.set_blocking(bench.stdin, True)
        bench.spin(lambda: bench.streams.is_flushed)
        assert os.read(bench.stdin, 10) == word
    os.set_blocking(bench.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(bench.stdin, 10)
    bench.close()


@pytest.mark.parametrize("close", [False, True])
def test_much_input_waits_for_the_program_and_arrives_whole(*, close: bool) -> None:
    bench = Bench()
    client = bench.attach(feeds=True)
    client.settimeout(0)
    payload = os.urandom(150_000)
    assert client.send(payload) == len(payload)
    if close:
        client.close()
    else:
        client.shutdown(socket.SHUT_WR)
    os.set_blocking(bench.stdin, False)
    got = bytearray()
    rounds = 0

    def ended() -> bool:
        nonlocal rounds
        rounds += 1
        try:
            chunk = os.read(bench.stdin, 5000)
        except BlockingIOError:
            return False
        got.extend(chunk)
        return not chunk

    bench.reactor.watch(bench.stdin, 1, lambda _events: None)
    bench.spin(ended)
    bench.reactor.forget(bench.stdin)
    assert got == payload
    bench.close()


def test_input_nobody_reads_any_more_is_thrown_away(bench: Bench) -> None:
    client = bench.attach(feeds=True)
    os.close(bench.stdin)
    bench.stdin = -1
    client.sendall(b"x" * 100)
    bench.spin(lambda: not bench.streams.takes_input)
    os.write(bench.stdout, b"still here")
    bench.end_output()
    bench.streams.finish()
    assert unframe(receive_all(client, bench.reactor))[STDOUT] == b"still here"


def test_attach_after_the_end_gets_end_of_file(bench: Bench) -> None:
    bench.streams.finish()
    assert receive_all(bench.attach(feeds=True), bench.reactor) == b""


def test_terminal_is_raw_and_takes_input_and_size() -> None:
    reactor = Reactor()
    log = ListLog()
    streams = Streams(reactor, log=log, close_stdin_once=True)
    master, slave = pty.openpty()
    tty.setraw(slave)
    streams.use_terminal(master, feeds=True)
    streams.start_terminal()
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    streams.attach(theirs, frozenset({STDOUT}), feeds=True)
    ours.send(b"typed")
    spin(reactor, lambda: bool(streams.takes_input and _readable(slave)))
    assert os.read(slave, 10) == b"typed"
    streams.resize(rows=11, columns=22)
    assert os.get_terminal_size(slave) == (22, 11)
    os.write(slave, b"shown")
    spin(reactor, lambda: log.text(STDOUT) == b"shown")
    ours.shutdown(socket.SHUT_WR)
    spin(reactor, lambda: _readable(slave))
    assert os.read(slave, 10) == b"\x04"
    os.close(slave)
    streams.drain()
    streams.finish()
    assert receive_all(ours, reactor) == b"shown"
    ours.close()


def test_a_client_that_leaves_a_terminal_ends_nothing() -> None:
    reactor = Reactor()
    streams = Streams(reactor, log=None, close_stdin_once=True)
    master, slave = pty.openpty()
    tty.setraw(slave)
    streams.use_terminal(master, feeds=True)
    for word in (b"one", b"two"):
        ours, theirs = socket.socketpair()
        streams.attach(theirs, frozenset({STDOUT}), feeds=True)
        ours.send(word)
        ours.close()
        spin(reactor, lambda: streams.is_flushed)
        assert os.read(slave, 10) == word
    os.close(slave)
    streams.finish()


def _readable(fd: int) -> bool:
    os.set_blocking(fd, False)
    return bool(select.select([fd], [], [], 0)[0])


def test_pipes_close_everything() -> None:
    before = set(os.listdir("/proc/self/fd"))
    open_pipes(stdin=True, stdout=True, stderr=True).close_all()
    Pipes().close_all()
    assert set(os.listdir("/proc/self/fd")) == before
