import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.client.streams import Demultiplexer, Stream, Targets
from kedge.errdefs import SystemFailureError


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20)), max_size=6),
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
)
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(stream, content) for stream, content in frames)
    found: dict[int, bytes] = {1: b"", 2: b""}

    def write(stream: int, piece: bytes) -> None:
        found[stream] += piece

    demultiplexer = Demultiplexer(write)
    position = 0
    while position < len(data):
        size = cuts[position % len(cuts)]
        demultiplexer.feed(data[position : position + size])
        position += size
    for stream, content in found.items():
        assert content == b"".join(piece for number, piece in frames if number == stream)


def test_a_frame_of_the_engine_is_a_failure() -> None:
    with pytest.raises(SystemFailureError, match="it broke"):
        Demultiplexer(lambda _s, _d: None).feed(frame(3, b"it broke"))


class Wires:
    """Both ends of a session: the engine's socket, and pipes for the standard streams."""

    def __init__(self) -> None:
        self.ours, self.engine = socket.socketpair()
        self.stdin, self.keyboard = os.pipe()
        self.screen, self.stdout = os.pipe()
        self.errors, self.stderr = os.pipe()
        self.wakeup, self.waker = os.pipe()

    def stream(
        self, *, stdin: bool = True, multiplexed: bool = True, pending: bytes = b""
    ) -> Stream:
        targets = Targets(self.stdin if stdin else -1, self.stdout, self.stderr)
        return Stream(self.ours, pending, targets=targets, multiplexed=multiplexed)

    def close(self) -> None:
        self.ours.close()
        self.engine.close()
        for pair in (self.stdin, self.keyboard, self.screen, self.stdout, self.errors, self.stderr):
            os.close(pair)
        os.close(self.wakeup)
        os.close(self.waker)


@pytest.fixture
def wires() -> Iterator[Wires]:
    wires = Wires()
    yield wires
    wires.close()


def never() -> None:
    pytest.fail("nothing woke the loop")


def test_output_goes_to_its_stream(wires: Wires) -> None:
    wires.engine.sendall(frame(2, b"err"))
    wires.engine.shutdown(socket.SHUT_WR)
    wires.stream(stdin=False, pending=frame(1, b"early")).run(wires.wakeup, never)
    assert os.read(wires.screen, 100) == b"early"
    assert os.read(wires.errors, 100) == b"err"


def test_a_terminals_output_is_raw(wires: Wires) -> None:
    wires.engine.sendall(b"\x01raw")
    wires.engine.shutdown(socket.SHUT_WR)
    wires.stream(stdin=False, multiplexed=False).run(wires.wakeup, never)
    assert os.read(wires.screen, 100) == b"\x01raw"


def test_input_arrives_and_its_end_is_told_while_output_goes_on(wires: Wires) -> None:
    received: list[bytes] = []

    def engine() -> None:
        while data := wires.engine.recv(100):
            received.append(data)
        wires.engine.sendall(frame(1, b"after the end"))
        wires.engine.shutdown(socket.SHUT_WR)

    os.write(wires.keyboard, b"typed")
    duplicate = os.dup(wires.keyboard)
    os.dup2(os.open(os.devnull, os.O_WRONLY), wires.keyboard)
    os.close(duplicate)
    thread = threading.Thread(target=engine)
    thread.start()
    wires.stream().run(wires.wakeup, never)
    thread.join()
    assert b"".join(received) == b"typed"
    assert os.read(wires.screen, 100) == b"after the end"


def test_the_loop_wakes_up_for_others(wires: Wires) -> None:
    def woken() -> None:
        assert os.read(wires.wakeup, 1) == b"x"
        wires.engine.shutdown(socket.SHUT_WR)

    os.write(wires.waker, b"x")
    wires.stream(stdin=False).run(wires.wakeup, woken)


def test_a_program_that_reads_no_input_loses_no_output(wires: Wires) -> None:
    os.write(wires.keyboard, b"nobody reads this")
    wires.engine.sendall(frame(1, b"output"))
    wires.engine.shutdown(socket.SHUT_RDWR)
    wires.stream().run(wires.wakeup, never)
    assert os.read(wires.screen, 100) == b"output"
