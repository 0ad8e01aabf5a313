"""Containers whose shim is dead: how they ended, and the removal of what they left. Blocking.

A container's init dies with its shim, by the kernel's parent-death signal, so at most a moment of
life is left in it. A program that changed its credentials has cleared that signal; the cgroup finds
it, and everything it forked.
"""

import os
import signal
import time
from contextlib import suppress
from typing import Final

from kedge.errdefs import ConflictError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.runtime.cgroups import Cgroup, make_cgroup
from kedge.shim.exits import load_exit
from kedge.shim.messages import SOCKET_NAME, ExitStatus

_KILL_ROUNDS: Final = 50
_ROUND_S: Final = 0.02


def reap_orphan(run_dir: str, cgroup_path: str) -> ExitStatus | None:
    """Kill and remove what is left of a container without a shim; return how it ended.

    Returns:
        The status the shim wrote before it died; None when it died first, which has killed the
        container.

    Raises:
        ConflictError: Processes in the cgroup do not die.
    """
    cgroup = make_cgroup(cgroup_path)
    status = load_exit(run_dir)
    if cgroup.exists():
        _empty(cgroup)
        cgroup.delete()
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(run_dir, SOCKET_NAME))
    return status


def killed_with_shim() -> ExitStatus:
    """Return the status of a container that was killed because its shim died, as of now."""
    return ExitStatus(
        exit_code=128 + signal.SIGKILL,
        signal=signal.SIGKILL,
        exited_at_ns=SYSTEM_CLOCK.time_ns(),
    )


def remove_cgroup_parent(parent: str) -> None:
    """Remove the directories that hold containers' cgroups, where nobody uses them any more."""
    make_cgroup(f"{parent}/none").delete_empty_ancestors()


def _empty(cgroup: Cgroup) -> None:
    """Kill until nobody is left; a frozen cgroup is thawed by its `kill`."""
    for _ in range(_KILL_ROUNDS):
        if not cgroup.pids():
            return
        cgroup.kill()
        time.sleep(_ROUND_S)
    raise ConflictError(f"processes of cgroup {cgroup.path} survive SIGKILL: {cgroup.pids()}")
