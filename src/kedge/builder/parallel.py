"""Stages at the same time, told of one after the other; equal steps of several builds once.

A stage runs as soon as what it needs is built. What it reports is held back until the stages
before it have finished, so a build reads the same however its stages overlapped; only who shows
several stages side by side is told at once.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from kedge.builder.events import (
    Event,
    InStage,
    Notice,
    Output,
    ShellReady,
    StageFailed,
    StepStarted,
)

_AT_ONCE: Final = max(4, 2 * (os.cpu_count() or 1))
_MOST_HELD: Final = 20_000
_WAIT_S: Final = 0.1
NO_LABELS: Final[Mapping[int, str]] = MappingProxyType({})


class Turns:
    """Passes on what stages report, stage after stage, and numbers the steps; thread-safe."""

    def __init__(
        self,
        order: Sequence[int],
        total: int,
        on_event: Callable[[Event], None],
        *,
        at_once: bool = False,
        labels: Mapping[int, str] = NO_LABELS,
    ) -> None:
        """Expect reports of the stages in ``order``, and ``total`` steps.

        With ``at_once`` nothing is held back, and what a stage reports is told as `InStage`,
        with its name of ``labels``.
        """
        self._labels = labels
        self._at_once = at_once
        self._order = deque(order)
        self._held: dict[int, list[Event]] = {index: [] for index in order}
        self._left_out = dict.fromkeys(order, 0)
        self._done: set[int] = set()
        self._number = 0
        self._total = total
        self._on_event = on_event
        self._lock = threading.RLock()

    def tell(self, event: Event) -> None:
        """Pass on what belongs to no stage, or to the one whose turn it is."""
        with self._lock:
            self._on_event(self._numbered(event))

    def report(self, index: int, event: Event) -> None:
        """Pass on what a stage reports, or hold it back until its turn."""
        with self._lock:
            if self._at_once:
                self._in_stage(index, self._numbered(event))
            elif isinstance(event, ShellReady):
                # Somebody sits there and waits for it, and wants to know what led to it.
                self._release(index)
                self.tell(event)
            elif self._order and self._order[0] == index:
                self.tell(event)
            elif isinstance(event, Output) and len(self._held[index]) >= _MOST_HELD:
                self._left_out[index] += 1
            else:
                self._held[index].append(event)

    def finish(self, index: int) -> None:
        """Note that a stage is done; the turn goes to the next that is not."""
        with self._lock:
            self._done.add(index)
            while self._order and self._order[0] in self._done:
                self._order.popleft()
                if self._order:
                    self._release(self._order[0])

    def fail(self, index: int) -> None:
        """Tell what is known of a stage that ends the build, whoever's turn it is."""
        with self._lock:
            if self._at_once:
                self._in_stage(index, StageFailed())
            self._release(index)

    def _in_stage(self, index: int, event: Event) -> None:
        self._on_event(InStage(stage=index, event=event, label=self._labels.get(index, "")))

    def _numbered(self, event: Event) -> Event:
        if not isinstance(event, StepStarted):
            return event
        self._number += 1
        return replace(event, number=self._number, total=max(self._total, self._number))

    def _release(self, index: int) -> None:
        held, self._held[index] = self._held[index], []
        for event in held:
            self.tell(event)
        if self._left_out[index]:
            self.tell(Notice(text=f"{self._left_out[index]} pieces of output left out"))


def run_stages(
    order: Sequence[int],
    needs: Mapping[int, Sequence[int]],
    build: Callable[[int], None],
    stop: Callable[[], None],
) -> None:
    """Call ``build`` for every stage of ``order``, each after what it needs.

    Args:
        order: The stages, each after what it needs.
        needs: What each waits for.
        build: Builds one; called from several threads.
        stop: Asks the others to end when one has failed.

    Raises:
        KedgeError: What the first stage that failed raised, once all have ended.
    """
    if len(order) == 1:
        build(order[0])
        return
    waiting = list(order)
    running: dict[Future[None], int] = {}
    done: set[int] = set()
    failure: BaseException | None = None
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="kedge-stage") as pool:
        while running or (waiting and failure is None):
            ready = [i for i in waiting if failure is None and done.issuperset(needs[i])]
            for index in ready:
                waiting.remove(index)
                running[pool.submit(build, index)] = index
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                done.add(running.pop(future))
                error = future.exception()
                if error is not None and failure is None:
                    failure = error
                    stop()
    if failure is not None:
        raise failure


class Once:
    """Lets equal work be done by one at a time; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, key: str, check: Callable[[], None]) -> Generator[None, None, None]:
        """Enclose the work ``key``, after whoever is at it; ``check`` may end the waiting."""
        with self._changed:
            while key in self._held:
                self._changed.wait(_WAIT_S)
                check()
            self._held.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(key)
                self._changed.notify_all()
