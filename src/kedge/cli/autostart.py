"""Starting the default engine when a command finds none."""

from __future__ import annotations

import os
import sys
import time

from kedge.errdefs import UnavailableError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


_WAIT_S: Final = 20.0
_LOG: Final = "/var/log/kedged.log"


def start_default_engine(client: EngineClient) -> None:
    """Start ``kedged`` in the background, say so, and return when it accepts connections.

    Raises:
        UnavailableError: Not root, or the engine does not come up; its log is named.
    """
    if os.geteuid() != 0:
        raise UnavailableError(
            f"no engine runs at {client.host}, and starting one needs root: run sudo kedge …, "
            "or start kedged first"
        )
    sys.stderr.write(f"kedge: no engine runs: starting kedged (its log is {_LOG})\n")
    log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "kedge.daemon"],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setsid=True,
    )
    os.close(log)
    os.close(null)
    deadline = time.monotonic() + _WAIT_S
    while not client.is_reachable():
        if time.monotonic() > deadline:
            raise UnavailableError(f"kedged does not come up: see {_LOG}")
        time.sleep(0.02)
