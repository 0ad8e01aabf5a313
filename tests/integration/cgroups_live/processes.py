"""Child processes that live in a cgroup, and are gone when the test is over."""

import os
import signal
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress

from kedge.runtime.cgroups import Cgroup

HELD_BYTES = 4 << 20


def sleeper(cgroup: Cgroup) -> AbstractContextManager[int]:
    """A process that has joined the cgroup and waits for a signal."""
    return _running(cgroup, _hold_memory)


def spinner(cgroup: Cgroup) -> AbstractContextManager[int]:
    """A process that has joined the cgroup, holds memory and computes without end."""
    return _running(cgroup, _compute)


@contextmanager
def _running(cgroup: Cgroup, work: Callable[[], object]) -> Generator[int]:
    pid = fork_into(cgroup, work)
    try:
        wait_until(lambda: pid in cgroup.pids())
        yield pid
    finally:
        # The test may have waited for it.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            if cgroup.is_frozen():
                cgroup.thaw()
            os.waitpid(pid, 0)


def _hold_memory() -> None:
    # Enough for every kernel to count: some take a processor's first pages from what is at hand.
    held = bytearray(HELD_BYTES)
    signal.pause()
    del held


def _compute() -> None:
    held = bytearray(HELD_BYTES)
    while held:
        pass


def fork_into(cgroup: Cgroup, work: Callable[[], object]) -> int:
    """Fork a child that joins ``cgroup``, does ``work`` and exits with 0, or 1 if that raised."""

    def joined() -> None:
        cgroup.join_self()
        work()

    return _fork(joined)


def _fork(work: Callable[[], object]) -> int:
    pid = os.fork()  # noqa: TID251 - the spawner does this for the engine
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def ask(cgroup: Cgroup, question: Callable[[], str]) -> str:
    """Return what ``question`` answers inside the cgroup."""

    def joined() -> str:
        cgroup.join_self()
        return question()

    return ask_outside(joined)


def ask_outside(question: Callable[[], str]) -> str:
    """Return what ``question`` answers in a child that has joined nothing; empty if it raised."""
    reader, writer = os.pipe()
    try:
        pid = _fork(lambda: os.write(writer, question().encode()))
        os.close(writer)
        writer = -1
        answer = os.read(reader, 65536).decode()
        os.waitpid(pid, 0)
        return answer
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def wait_until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Poll until ``condition`` holds; fail at the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the kernel did not get there in time"
        time.sleep(0.001)


def open_errors(*attempts: tuple[str, int]) -> str:
    """Try to open each path; return one word per attempt, ``ok`` or the error's name."""
    words: list[str] = []
    for path, flags in attempts:
        try:
            os.close(os.open(path, flags))
        except OSError as error:
            words.append(type(error).__name__)
        else:
            words.append("ok")
    return " ".join(words)


def fork_once() -> str:
    """Return whether the calling process may have a child: ``forked`` or ``refused``."""
    try:
        pid = os.fork()  # noqa: TID251
    except BlockingIOError:
        return "refused"
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "forked"
