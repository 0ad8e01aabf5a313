"""A thread that does in the background what the kernel takes long for, all that waits at once."""

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Batches(Generic[T]):
    """One daemon thread, started when it is first needed; the same thing waits but once."""

    def __init__(
        self, name: str, work: Callable[[list[T]], None], *, patience: int | None = None
    ) -> None:
        """Do ``work``, which must not raise, on what is submitted, in order.

        Args:
            name: The thread's name.
            work: Called with all that waits.
            patience: How much of what is not wanted soon may wait for company; None is any.
        """
        self._name = name
        self._work = work
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: dict[T, None] = {}
        self._is_wanted = False
        self._is_busy = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def submit(self, items: Iterable[T], *, soon: bool = True) -> None:
        """Have something done: soon, or together with the next that is."""
        with self._changed:
            self._waiting.update(dict.fromkeys(items))
            is_too_much = self._patience is not None and len(self._waiting) > self._patience
            if self._is_closing or not self._waiting or not (soon or is_too_much):
                return
            self._is_wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything wanted soon is done; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._is_wanted and not self._is_busy, timeout_s
            )

    def close(self) -> None:
        """Finish what is wanted soon and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._is_wanted or self._is_closing)
                if not self._is_wanted:
                    return
                items, self._waiting, self._is_wanted = list(self._waiting), {}, False
                self._is_busy = True
            self._work(items)
