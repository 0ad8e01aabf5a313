import errno
import os
import signal
from collections.abc import Callable

import pytest

from kedge.linux import process, vfork
from kedge.linux.vfork import Failed, Script, Started
from kedge.linux.vfork import Syscalls as Call

pytestmark = pytest.mark.skipif(not vfork.is_supported(), reason="the machine code is x86_64's")

_MASK = bytes(8)


def run(fill: Callable[[Script], None]) -> Started | Failed:
    script = Script()
    fill(script)
    previous = process.block_signals()
    try:
        return script.run()
    finally:
        process.restore_signal_mask(previous)


def become(script: Script, *words: str) -> None:
    script.call(Call.rt_sigprocmask, signal.SIG_SETMASK, _MASK, 0, len(_MASK))
    arguments = script.strings([os.fsencode(word) for word in words])
    script.attempt(Call.execve, b"/nowhere/sh", arguments, script.strings([]))
    script.attempt(Call.execve, b"/bin/sh", arguments, script.strings([b"A=1"]))
    script.fail()


def test_a_child_becomes_a_program() -> None:
    inside, outside = os.pipe()

    def fill(script: Script) -> None:
        script.expect(1, Call.dup3, outside, 1, 0)
        become(script, "sh", "-c", 'echo "$A"; exit 3')

    found = run(fill)
    os.close(outside)
    assert isinstance(found, Started)
    with open(inside, "rb") as stream:
        assert stream.read() == b"1\n"
    assert os.waitid(os.P_PIDFD, found.pidfd, os.WEXITED) is not None
    os.close(found.pidfd)


def test_signals_reach_the_program() -> None:
    found = run(lambda script: become(script, "sh", "-c", "kill -TERM $$; sleep 100"))
    assert isinstance(found, Started)
    assert os.waitstatus_to_exitcode(os.waitpid(found.pid, 0)[1]) == -signal.SIGTERM
    os.close(found.pidfd)


def test_the_first_call_that_fails_is_named_and_nothing_is_left() -> None:
    def fill(script: Script) -> None:
        script.attempt(Call.close, 9999)
        script.call(Call.chdir, b"/nowhere")
        become(script, "sh")

    before = os.listdir("/proc/self/fd")
    assert run(fill) == Failed(1, -errno.ENOENT)
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_another_result_than_expected_is_a_failure() -> None:
    assert run(lambda script: script.expect(7, Call.umask, 0o22)) == Failed(0, 0o22)


def test_without_a_program_the_list_fails() -> None:
    found = run(lambda script: script.fail())
    assert isinstance(found, Failed)


@pytest.mark.parametrize(("letter", "number"), [("/", 2), (".", 1)])
def test_memory_is_compared(letter: str, number: int) -> None:
    def fill(script: Script) -> None:
        path = script.buffer(4096)
        script.call(Call.getcwd, path, 4096)
        script.compare(path, 0xFF, ord(letter))
        script.fail()

    found = run(fill)
    assert isinstance(found, Failed)
    assert found.number == number


def test_one_list_can_be_part_of_many() -> None:
    part = Script()
    part.call(Call.chdir, b"/")

    def fill(script: Script) -> None:
        script.include(part)
        script.expect(1, Call.umask, 0o22)

    assert isinstance(run(fill), Failed)
    assert isinstance(run(fill), Failed)


def test_the_parents_directory_and_mask_stay() -> None:
    def fill(script: Script) -> None:
        script.call(Call.chdir, b"/")
        script.call(Call.umask, 0)
        script.fail()

    before, mask = os.getcwd(), os.umask(0o22)
    os.umask(mask)
    run(fill)
    assert (os.getcwd(), os.umask(mask)) == (before, mask)
