import os
import signal

import pytest

from kedge.linux import process


def test_blocked_signals_are_restored() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    mask = process.block_signals()
    assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    process.restore_signal_mask(mask)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_execve_of_a_missing_program_names_it() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        process.execve("/no/such/program", ["x"], ["A=b"])
    assert caught.value.filename == "/no/such/program"


def test_a_signal_reaches_the_process_of_a_pidfd() -> None:
    pidfd = os.pidfd_open(os.getpid())
    try:
        process.send_signal(pidfd, 0)
    finally:
        os.close(pidfd)
