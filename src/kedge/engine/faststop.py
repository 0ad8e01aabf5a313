"""Whether a container's stop signal can have any effect; when it cannot, nobody waits for it.

The kernel never lets a signal with its default action reach the first process of a pid namespace
(``sig_task_ignored`` in kernel/signal.c): a program without a handler sits out the whole grace
period and is killed at its end. Proof that a signal was thrown away, for every thread of process 1:

- it is not caught (SigCgt): no handler would run;
- it is not blocked (SigBlk): a blocked signal stays pending, for a signalfd or a later handler;
- no thread sits in rt_sigtimedwait: the kernel clears the awaited signals from SigBlk meanwhile,
  so the masks alone say "thrown away" of a program that is about to receive it;
- nobody traces it: a tracer sees signals that the process ignores.

A program that is still starting may install its handler a moment later, so all this must hold for
`SETTLE_S` after the signal. Whatever cannot be read or is in doubt means: wait as Docker does.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from kedge.engine.record import ContainerRecord

SETTLE_S: Final = 0.2
LABEL: Final = "kedge.fast-stop"
_LOOKS: Final = 5

# rt_sigtimedwait on x86_64 and arm64, then that of 32-bit programs: compat and time64.
_WAITS: Final = frozenset({128, 137, 177, 421})
# The kernel ends or stops even process 1 with these.
_ALWAYS_HEARD: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})
_FALSE: Final = frozenset({"false", "0", "no", "off"})

Sleep = Callable[[float], Awaitable[None]]


class ThreadState(NamedTuple):
    """What the kernel shows of one thread: signal masks, its tracer and the call it sits in."""

    caught: int
    blocked: int
    tracer: int
    innermost_pid: int
    """The process's pid in its own pid namespace."""
    call: int
    """The number of the system call it waits in; -1 for none."""


def may_stop_fast(record: ContainerRecord, number: int, *, enabled: bool, init: bool) -> bool:
    """Return whether a container's first process is one whose stop signal may be thrown away.

    Args:
        record: The container.
        number: Its stop signal.
        enabled: The engine's ``fast-stop``; the container's label wins.
        init: The engine's default of ``--init``.
    """
    host = record.host_config
    label = record.config.labels.get(LABEL)
    if label is not None:
        enabled = label.lower() not in _FALSE
    has_init = init if host.init is None else host.init
    return (
        enabled
        and not has_init
        and host.pid_mode in {"", "private"}
        and number not in _ALWAYS_HEARD
    )


def is_thrown_away(threads: Sequence[ThreadState], number: int) -> bool:
    """Return whether the kernel throws signal ``number`` away that is sent to these threads."""
    bit = 1 << (number - 1)
    return bool(threads) and all(
        not thread.caught & bit
        and not thread.blocked & bit
        and not thread.tracer
        and thread.innermost_pid == 1
        and thread.call not in _WAITS
        for thread in threads
    )


def parse_thread(status: str, call: str) -> ThreadState:
    """Return what ``/proc/PID/task/TID/status`` and ``syscall`` say.

    Raises:
        ValueError: Not of their form.
    """
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    try:
        word, *_ = call.split() or ["nothing"]
        return ThreadState(
            caught=int(fields["SigCgt"], 16),
            blocked=int(fields["SigBlk"], 16),
            tracer=int(fields["TracerPid"]),
            innermost_pid=int(fields["NStgid"].split()[-1]),
            call=-1 if word == "running" else int(word),
        )
    except (LookupError, ValueError) as error:
        raise ValueError(f"not a thread's status: {error}") from None


def read_threads(pid: int) -> list[ThreadState]:
    """Return the threads of a process; none when it is gone or may not be looked at."""
    threads: list[ThreadState] = []
    try:
        for name in os.listdir(f"/proc/{pid}/task"):
            folder = f"/proc/{pid}/task/{name}"
            with (
                open(f"{folder}/status", encoding="utf-8", errors="replace") as status,
                open(f"{folder}/syscall", encoding="ascii") as call,
            ):
                threads.append(parse_thread(status.read(), call.read()))
    except (OSError, ValueError):
        return []
    return threads


async def stays_thrown_away(
    pid: int,
    number: int,
    *,
    read: Callable[[int], Sequence[ThreadState]] = read_threads,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Look until `SETTLE_S` has gone by; return whether the signal was thrown away all the time."""
    for look in range(_LOOKS):
        if look:
            await sleep(SETTLE_S / (_LOOKS - 1))
        if not is_thrown_away(read(pid), number):
            return False
    return True
