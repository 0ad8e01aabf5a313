"""Runs steps in parallel along their needs: each in a thread, the moment what it needs is done.

The first failure lets nothing new begin; what has begun ends, so that nothing is left half done.
Waiting for containers is told to give up. The first failure is what the caller gets.
"""

import threading
from collections.abc import Callable, Sequence

from kedge.client.signals import LOOK_S
from kedge.compose.steps import Step, WaitFor
from kedge.errdefs import KedgeError

Perform = Callable[[Step, "Cancel"], None]


class Cancel:
    """Tells steps that wait that the rest has been given up."""

    def __init__(self) -> None:
        """Begin with nothing given up."""
        self._event = threading.Event()

    def set(self) -> None:
        """Give up."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether it has been given up."""
        return self._event.is_set()


class CancelledStepError(KedgeError):
    """A step ended because another one failed or the user interrupted; no failure of its own."""


def execute(
    steps: Sequence[Step], perform: Perform, *, parallel: int = -1, cancel: Cancel | None = None
) -> None:
    """Do every step; return when all are done.

    Args:
        steps: In an order that respects their needs; needs without a step count as done.
        perform: Does one step; called from several threads.
        parallel: How many are done at once; -1 is without limit. Waiting does not count.
        cancel: Lets another thread give up the rest.

    Raises:
        KedgeError: The first step that failed.
        CancelledStepError: Another thread gave up the rest.
        KeyboardInterrupt: The user interrupted; what had begun has ended.
    """
    _Execution(steps, perform, parallel, cancel or Cancel()).run()


class _Execution:
    def __init__(
        self, steps: Sequence[Step], perform: Perform, parallel: int, cancel: Cancel
    ) -> None:
        self._perform = perform
        self._cancel = cancel
        self._slots = threading.Semaphore(parallel) if parallel > 0 else None
        self._changed = threading.Condition()
        keys = {step.key for step in steps}
        self._missing = {step.key: {key for key in step.needs if key in keys} for step in steps}
        self._waiting = {step.key: step for step in steps}
        self._dependents: dict[str, list[str]] = {}
        for key, needs in self._missing.items():
            for need in needs:
                self._dependents.setdefault(need, []).append(key)
        self._running = 0
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            with self._changed:
                self._begin([key for key, needs in self._missing.items() if not needs])
                while self._running:
                    self._changed.wait(LOOK_S)
        except KeyboardInterrupt as interrupt:
            self._give_up(interrupt)
            with self._changed:
                while self._running:
                    self._changed.wait(LOOK_S)
        if self._failure is not None:
            raise self._failure
        if self._cancel.is_set():
            raise CancelledStepError("given up")
        if self._waiting:
            raise AssertionError(f"steps need each other: {sorted(self._waiting)}")

    def _begin(self, keys: Sequence[str]) -> None:
        if self._cancel.is_set():
            return
        for key in keys:
            step = self._waiting.pop(key)
            self._running += 1
            threading.Thread(target=self._do, args=(step,), daemon=True).start()

    def _do(self, step: Step) -> None:
        try:
            if self._slots is None or isinstance(step, WaitFor):
                self._perform(step, self._cancel)
            else:
                with self._slots:
                    self._perform(step, self._cancel)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            self._give_up(error)
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
            return
        with self._changed:
            ready: list[str] = []
            for key in self._dependents.get(step.key, ()):
                self._missing[key].discard(step.key)
                if not self._missing[key]:
                    ready.append(key)
            self._begin(ready)
            self._running -= 1
            self._changed.notify_all()

    def _give_up(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None and not isinstance(error, CancelledStepError):
                self._failure = error
        self._cancel.set()
