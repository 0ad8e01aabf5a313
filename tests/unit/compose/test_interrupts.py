"""An interrupt that comes a moment before the main thread begins to wait is not lost."""

import contextlib
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from kedge.client.signals import interrupt_on_signals
from kedge.compose.executor import Cancel, execute
from kedge.compose.following import take
from kedge.compose.steps import KeepContainer, Step

_LONG_S = 60
_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def unnoticed_interrupt(ready: threading.Event) -> Iterator[Callable[[], bool]]:
    """Send SIGTERM once ``ready`` is set, so that it does not wake the main thread.

    That thread has it blocked and another one receives it, which is all Python sees of a signal
    that came before a wait. Yields whether it has been sent.
    """
    sent = threading.Event()

    def send() -> None:
        assert ready.wait(_LONG_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        sent.set()

    handlers = [signal.signal(number, signal.default_int_handler) for number in _NUMBERS]
    interrupt_on_signals()
    sender = threading.Thread(target=send)
    sender.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
    try:
        yield sent.is_set
    finally:
        ready.set()
        sender.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in zip(_NUMBERS, handlers, strict=True):
            signal.signal(number, handler)


class Announced(queue.SimpleQueue[str]):
    """Tells when somebody is about to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = threading.Event()

    def get(self, block: bool = True, timeout: float | None = None) -> str:  # noqa: FBT001, FBT002
        self.waited_for.set()
        return super().get(block, timeout)


def test_waiting_for_a_message_is_interrupted() -> None:
    messages = Announced()
    # Where the interrupt is lost, this ends the wait.
    lost: list[str] = []

    def end_it() -> None:
        lost.append("nothing interrupted it")
        messages.put("")

    end = threading.Timer(_LONG_S, end_it)
    end.start()
    try:
        with unnoticed_interrupt(messages.waited_for) as is_sent, pytest.raises(KeyboardInterrupt):
            take(messages)
        assert is_sent()
    finally:
        end.cancel()
    assert lost == []


def test_running_steps_are_interrupted() -> None:
    ready = threading.Event()
    given_up: list[bool] = []

    def perform(_step: Step, cancel: Cancel) -> None:
        while not _main_thread_waits():
            threading.Event().wait(0.001)
        ready.set()
        for _ in range(_LONG_S * 100):
            if cancel.is_set():
                break
            threading.Event().wait(0.01)
        given_up.append(cancel.is_set())

    steps = [KeepContainer("a", (), "a", "Running")]
    with unnoticed_interrupt(ready) as is_sent, pytest.raises(KeyboardInterrupt):
        execute(steps, perform)
    assert is_sent()
    assert given_up == [True]


def _main_thread_waits() -> bool:
    """Tell whether it waits in `execute`, not in the start of a thread."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    above = frame.f_back
    return above is not None and (above.f_code.co_name, frame.f_code.co_name) == ("run", "wait")
