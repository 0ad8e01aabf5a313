"""The shim's event loop: epoll, timers and dead children, in one thread and without asyncio.

A callback gets the ready events; a descriptor it forgot is not reported again, not even when it was
ready in the same round. SIGCHLD arrives through a wake-up pipe, so that reaping happens between
callbacks and never inside one that waits for a child of its own.
"""

import os
import signal
import time
from collections.abc import Callable
from heapq import heappop, heappush
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll
from types import FrameType
from typing import Final, TypeAlias

READABLE: Final = EPOLLIN
WRITABLE: Final = EPOLLOUT
BROKEN: Final = EPOLLHUP | EPOLLERR

Ready: TypeAlias = Callable[[int], None]
Action: TypeAlias = Callable[[], None]


class Timer:
    """One action to come; `cancel` forgets it."""

    __slots__ = ("_action", "due")

    def __init__(self, due: float, action: Action) -> None:
        self.due = due
        self._action: Action | None = action

    def cancel(self) -> None:
        """Never run the action."""
        self._action = None

    @property
    def is_due_some_day(self) -> bool:
        """Whether it was neither cancelled nor fired."""
        return self._action is not None

    def fire(self) -> None:
        """Run the action unless cancelled, once."""
        action, self._action = self._action, None
        if action is not None:
            action()

    def __lt__(self, other: "Timer") -> bool:
        return self.due < other.due


class Reactor:
    """Waits for descriptors, children and time, and calls back."""

    def __init__(self) -> None:
        self._epoll = epoll()
        self._ready: dict[int, Ready] = {}
        self._forgotten: set[int] = set()
        self._timers: list[Timer] = []
        self._running = False
        self._quiet: Action | None = None
        self._quiet_s = 0.0
        self._quiet_due = 0.0

    def watch(self, fd: int, events: int, ready: Ready) -> None:
        """Call ``ready`` with the events whenever ``fd`` has some of ``events``, or breaks."""
        self._epoll.register(fd, events)
        self._ready[fd] = ready

    def change(self, fd: int, events: int) -> None:
        """Wait for other ``events`` of a watched ``fd``; broken ones are always reported."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``; must come before it is closed. Unwatched ones are ignored."""
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            self._forgotten.add(fd)

    def is_watched(self, fd: int) -> bool:
        """Return whether ``fd`` is being waited for."""
        return fd in self._ready

    def call_later(self, delay_s: float, action: Action) -> Timer:
        """Run ``action`` after ``delay_s`` seconds."""
        timer = Timer(time.monotonic() + delay_s, action)
        heappush(self._timers, timer)
        return timer

    def when_quiet(self, delay_s: float, action: Action) -> None:
        """Run ``action`` once whenever nothing has happened and nothing was due for so long."""
        self._quiet, self._quiet_s = action, delay_s
        self._quiet_due = time.monotonic() + delay_s

    @property
    def has_timers(self) -> bool:
        """Whether an action is still to come."""
        return any(timer.is_due_some_day for timer in self._timers)

    def watch_children(self, died: Action) -> None:
        """Call ``died`` after every SIGCHLD; several deaths may come as one call."""
        wake_in, wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)

        def ready(_events: int) -> None:
            os.read(wake_in, 4096)
            died()

        self.watch(wake_in, READABLE, ready)

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.run_once()

    def stop(self) -> None:
        """Make `run` return once the current callbacks are through."""
        self._running = False

    def run_once(self) -> None:
        """Wait for something to happen and call back everybody it concerns."""
        events = self._epoll.poll(self._timeout_s())
        self._forgotten.clear()
        for fd, mask in events:
            ready = self._ready.get(fd)
            # The number may already name a new file that was watched in this very round.
            if ready is not None and fd not in self._forgotten:
                ready(mask)
        now = time.monotonic()
        idle = not events
        while self._timers and self._timers[0].due <= now:
            heappop(self._timers).fire()
            idle = False
        if self._quiet is not None:
            self._look_for_quiet(self._quiet, now, idle=idle)

    def _timeout_s(self) -> float:
        due = [self._timers[0].due] if self._timers else []
        if self._quiet_due:
            due.append(self._quiet_due)
        return max(0.0, min(due) - time.monotonic()) if due else -1.0

    def _look_for_quiet(self, action: Action, now: float, *, idle: bool) -> None:
        if not idle:
            self._quiet_due = now + self._quiet_s
        elif self._quiet_due and self._quiet_due <= now:
            self._quiet_due = 0.0
            action()


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Give SIGCHLD a Python handler, without which the wake-up pipe stays silent."""
