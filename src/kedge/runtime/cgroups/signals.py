"""Killing where the kernel has no way to do it to a whole cgroup at once."""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.signals import SIGKILL

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final


_ROUNDS: Final = 100


def kill_all(list_pids: Callable[[], list[int]]) -> None:
    """Send SIGKILL to what ``list_pids`` returns until it returns nothing new.

    A process may fork between the reading and the signal; its child shows up in the next round.
    """
    signalled: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = [pid for pid in list_pids() if pid not in signalled]
        if not fresh:
            return
        for pid in fresh:
            signalled.add(pid)
            try:
                os.kill(pid, SIGKILL)
            except ProcessLookupError:
                continue
