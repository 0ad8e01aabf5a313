"""What is left of a shim while nothing happens: what it hands on, whom it reaps, how it ends."""

import os
import select
import signal
import socket
from collections.abc import Callable

import pytest

from kedge.errdefs import SystemFailureError
from kedge.linux import prctl
from kedge.shim.holder import Begin, Holder, HolderLine, Rest, Resume

DEADLINE_S = 30


class Held:
    """A holder in a process of its own, whose workers talk to the test."""

    def __init__(self, begin: Begin, resume: Resume, *given: int) -> None:
        """Fork it; ``given`` are descriptors for the first worker alone."""
        self.told, self.tell = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.told.settimeout(DEADLINE_S)
        self.pid = os.fork()  # noqa: TID251 - what is under test does so, too
        if self.pid == 0:
            code = 99
            try:
                self.told.close()
                prctl.set_child_subreaper()
                code = Holder(
                    lambda line: begin(self._speaking(line)),
                    lambda line, rest: resume(self._speaking(line), rest),
                ).run(given)
            finally:
                os._exit(code)
        self.tell.close()
        for fd in given:
            os.close(fd)

    def _speaking(self, line: HolderLine) -> HolderLine:
        SAY.append(self.tell)
        return line

    def hear(self) -> bytes:
        return self.told.recv(1000)

    def end(self) -> int:
        self.told.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


SAY: list[socket.socket] = []
"""In a worker: where the test listens."""


def say(text: str) -> None:
    SAY[-1].send(text.encode())


def never(_line: HolderLine, _rest: Rest) -> int:
    return 98


def leave_behind(action: Callable[[], int]) -> int:
    """Fork a process that is nobody's but the holder's, a subreaper's; return its pid."""
    reads, writes = os.pipe()
    middle = os.fork()  # noqa: TID251 - as above
    if middle == 0:
        pid = os.fork()  # noqa: TID251 - as above
        if pid == 0:
            os._exit(action())
        os.write(writes, pid.to_bytes(4, "big"))
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int.from_bytes(os.read(reads, 4), "big")
    os.close(reads)
    os.close(writes)
    return pid


def is_dead(pid: int) -> bool:
    """Whether a process that may be a zombie has ended."""
    pidfd = os.pidfd_open(pid)
    ended, _, _ = select.select([pidfd], (), (), DEADLINE_S)
    os.close(pidfd)
    return bool(ended)


def test_a_worker_hands_over_and_the_next_goes_on_when_there_is_something() -> None:
    ours, theirs = socket.socketpair()
    reads, writes = os.pipe()
    mine = (ours.fileno(), reads)
    given = theirs.detach()

    def begin(line: HolderLine) -> int:
        os.close(mine[0])
        os.close(mine[1])
        return int(not line.try_rest(b"state", [given], [writes]))

    def resume(_line: HolderLine, rest: Rest) -> int:
        os.write(rest.fds[1], b"kept")
        say(f"{rest.state!r} {rest.waited} {os.read(rest.fds[0], 9)!r}")
        return 7

    held = Held(begin, resume, given, writes)
    ours.send(b"hello")
    assert held.hear() == b"b'state' 1 b'hello'"
    assert held.end() == 7
    # Nobody kept a copy of what the workers had.
    assert (os.read(reads, 9), os.read(reads, 9)) == (b"kept", b"")
    assert ours.recv(9) == b""
    ours.close()
    os.close(reads)


def test_what_is_closed_while_all_rest_wakes_a_worker() -> None:
    reads, writes = os.pipe()

    def begin(line: HolderLine) -> int:
        os.close(writes)
        line.try_rest(b"", [reads], [])
        return 0

    def resume(_line: HolderLine, rest: Rest) -> int:
        say(repr(os.read(rest.fds[0], 9)))
        return 0

    held = Held(begin, resume, reads, writes)
    assert held.hear() == b"b''"
    assert held.end() == 0


def test_more_than_fits_stays_with_the_worker() -> None:
    def begin(line: HolderLine) -> int:
        say(f"{line.try_rest(bytes(1 << 20), [0], [])} {line.try_rest(b'', [0] * 100, [])}")
        return 3

    held = Held(begin, never)
    assert held.hear() == b"False False"
    assert held.end() == 3


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (5, 5), (-signal.SIGKILL, 70)])
def test_a_worker_that_ends_ends_the_holder(status: int, expected: int) -> None:
    def begin(_line: HolderLine) -> int:
        if status < 0:
            os.kill(os.getpid(), -status)
        return status

    assert Held(begin, never).end() == expected


def test_a_holder_that_dies_takes_the_worker_along() -> None:
    def begin(_line: HolderLine) -> int:
        say(str(os.getpid()))
        signal.pause()
        return 0

    held = Held(begin, never)
    worker = os.pidfd_open(int(held.hear()))
    os.kill(held.pid, signal.SIGKILL)
    assert held.end() == -signal.SIGKILL
    assert select.select([worker], (), (), DEADLINE_S)[0]
    os.close(worker)


def test_the_init_is_reaped_by_the_worker_that_asks_even_if_another_knew_it() -> None:
    reads, writes = os.pipe()

    def begin(line: HolderLine) -> int:
        os.close(writes)
        init = leave_behind(lambda: 41)
        line.say_init(init, orphans=False)
        say(str(is_dead(init)))
        line.try_rest(b"", [reads], [])
        return 0

    def resume(line: HolderLine, _rest: Rest) -> int:
        say(str(os.waitstatus_to_exitcode(line.reap_init())))
        try:
            line.reap_init()
        except SystemFailureError:
            return 0
        return 1

    held = Held(begin, resume, reads)
    assert held.hear() == b"True"
    os.write(writes, b"x")
    assert held.hear() == b"41"
    assert held.end() == 0
    os.close(writes)


def test_an_orphan_is_reaped_and_the_init_is_not() -> None:
    def begin(line: HolderLine) -> int:
        init = leave_behind(lambda: 42)
        assert is_dead(init)
        line.say_init(init, orphans=True)
        orphan = leave_behind(lambda: 1)
        # Only who was reaped is no process any more.
        say(str(os.waitstatus_to_exitcode(line.reap_init())))
        other = leave_behind(lambda: 2)
        for _ in range(DEADLINE_S * 100):
            if not any(os.path.exists(f"/proc/{pid}") for pid in (orphan, other)):
                return 0
            select.select((), (), (), 0.01)
        return 1

    held = Held(begin, never)
    assert held.hear() == b"42"
    assert held.end() == 0
