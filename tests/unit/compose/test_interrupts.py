"""An interrupt that comes a moment before the main thread begins to wait is not lost."""

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Generator

import pytest

from kedge.client.signals import interrupt_on_signals
from kedge.compose.following import take

_LONG_S = 60
_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def unnoticed_interrupt(ready: threading.Event) -> Generator[Callable[[], bool]]:
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
