import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kedge.shim.jsonlog import PARTIAL_SIZE
from kedge.shim.logconfig import JOURNALD, SYSLOG, LogForward
from kedge.shim.logforward import LogForwarder, SyslogFormat, journal_field, open_forwarder
from kedge.shim.messages import STDERR, STDOUT
from kedge.shim.reactor import Reactor

NOON_NS = 1_700_000_000_123_456_789


class FixedClock:
    def time_ns(self) -> int:
        return NOON_NS

    def monotonic(self) -> float:
        return 0.0


class Service:
    """A logging service on a socket of its own."""

    def __init__(self, path: Path, kind: socket.SocketKind) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX, kind)
        self.listener.bind(self.path)
        self.listener.settimeout(60)
        if kind is socket.SOCK_STREAM:
            self.listener.listen()

    def accept(self) -> socket.socket:
        connection = self.listener.accept()[0]
        connection.settimeout(60)
        return connection


@pytest.fixture
def datagrams(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "log", socket.SOCK_DGRAM)
    yield made
    made.listener.close()


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "log", socket.SOCK_STREAM)
    yield made
    made.listener.close()


def syslog(service: Service, network: str) -> LogForward:
    return LogForward(SYSLOG, network, service.path, tag="web", hostname="host")


def opened(forward: LogForward, reactor: Reactor, *, buffer_size: int = 0) -> LogForwarder:
    return open_forwarder(forward, reactor, host_netns=-1, buffer_size=buffer_size)


def spin(reactor: Reactor, until: Callable[[], bool]) -> None:
    late: list[bool] = []
    guard = reactor.call_later(10, lambda: late.append(True))
    while not until():
        assert not late, "nothing happened for too long"
        reactor.call_later(0.001, lambda: None)
        reactor.run_once()
    guard.cancel()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("rfc5424", b"<27>1 2023-11-14T22:13:20Z host web %d web - bad\n"),
        ("rfc5424micro", b"<27>1 2023-11-14T22:13:20.123456Z host web %d web - bad\n"),
        ("rfc3164", b"<27>Nov 14 22:13:20 host web[%d]: bad\n"),
        ("", b"<27>Nov 14 22:13:20 web[%d]: bad\n"),
    ],
)
def test_syslog_formats(form: str, expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    forward = LogForward(SYSLOG, "udp", "", tag="web", format=form, hostname="host")
    encoder = SyslogFormat(forward, FixedClock())
    assert encoder.encode(STDERR, b"bad", partial=False) == expected % os.getpid()
    assert encoder.encode(STDOUT, b"good", partial=False).startswith(b"<30>")


def test_journal_fields() -> None:
    assert journal_field("A", b"one") == b"A=one\n"
    assert journal_field("A", b"one\ntwo") == b"A\n\x07\0\0\0\0\0\0\0one\ntwo\n"


def test_each_line_is_one_datagram(datagrams: Service) -> None:
    log = opened(syslog(datagrams, "unixgram"), Reactor())
    log.write(STDOUT, b"one\n\ntw")
    log.write(STDERR, b"bad\n")
    log.write(STDOUT, b"o\nlast")
    log.close()
    got = [datagrams.listener.recv(9999).rpartition(b": ")[2] for _ in range(4)]
    assert got == [b"one\n", b"bad\n", b"two\n", b"last\n"]


def test_a_journal_entry(datagrams: Service) -> None:
    forward = LogForward(JOURNALD, "unixgram", datagrams.path, labels=(("CONTAINER_NAME", "web"),))
    log = opened(forward, Reactor())
    log.write(STDERR, b"bad\n")
    log.write(STDOUT, b"x" * PARTIAL_SIZE + b"y")
    log.close()
    assert datagrams.listener.recv(9999) == b"PRIORITY=3\nCONTAINER_NAME=web\nMESSAGE=bad\n"
    piece = datagrams.listener.recv(99_999)
    assert piece.startswith(b"PRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\n")
    assert datagrams.listener.recv(9999).endswith(b"MESSAGE=y\n")


def test_an_entry_too_large_for_a_datagram_goes_as_a_sealed_file(datagrams: Service) -> None:
    large = "v" * 4_000_000
    forward = LogForward(JOURNALD, "unixgram", datagrams.path, labels=(("LARGE", large),))
    log = opened(forward, Reactor())
    log.write(STDOUT, b"one\n")
    data, fds, _, _ = socket.recv_fds(datagrams.listener, 10, 1)
    assert data == b""
    with os.fdopen(fds[0], "rb") as file:
        file.seek(0)
        assert file.read().endswith(b"v\nMESSAGE=one\n")
    log.close()


def test_a_slow_service_holds_the_program_back_and_gets_everything(streams: Service) -> None:
    reactor = Reactor()
    log = opened(syslog(streams, "unix"), reactor)
    service = streams.accept()
    lines = b"".join(b"%06d\n" % number for number in range(200_000))
    log.write(STDOUT, lines)
    assert log.is_backed_up
    relieved: list[bool] = []
    log.when_relieved(lambda: relieved.append(not log.is_backed_up))
    service.settimeout(0)
    got = bytearray()

    def read_some() -> bool:
        with suppress(BlockingIOError):
            got.extend(service.recv(1 << 20))
        return got.count(b"\n") == 200_000

    spin(reactor, read_some)
    assert relieved[-1]
    assert b"".join(line[-7:] for line in bytes(got).splitlines(keepends=True)) == lines
    log.close()
    service.close()


def test_a_slow_service_loses_lines_where_nobody_may_wait(streams: Service) -> None:
    log = opened(syslog(streams, "unix"), Reactor(), buffer_size=100_000)
    service = streams.accept()
    for _ in range(100):
        log.write(STDOUT, b"x" * 10_000 + b"\n")
    assert not log.is_backed_up
    assert log.dropped > 0
    service.close()
    log.close()


def test_a_service_that_goes_costs_lines_and_comes_back(streams: Service) -> None:
    log = opened(syslog(streams, "unix"), Reactor())
    streams.accept().close()
    log.write(STDOUT, b"one\n")
    service = streams.accept()
    assert service.recv(999).endswith(b": one\n")
    service.close()
    # Less than a second after the last attempt nobody tries again.
    log.write(STDOUT, b"two\n")
    assert log.dropped == 1
    log.close()


def test_no_service_is_an_error_that_names_it(tmp_path: Path) -> None:
    forward = LogForward(SYSLOG, "unix", str(tmp_path / "none"))
    with pytest.raises(OSError, match="No such file") as caught:
        opened(forward, Reactor())
    assert str(tmp_path / "none") in str(caught.value.filename)
