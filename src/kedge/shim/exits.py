"""How a process ended: from the kernel's word to a status, and the file that outlives the shim."""

import json
import os

from kedge.errdefs import KedgeError
from kedge.lib.atomicfile import write_atomic
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.oci import fields
from kedge.shim.messages import EXIT_NAME, ExitStatus, encode_exit, parse_exit


def parse_wait_status(wait_status: int) -> ExitStatus:
    """Return what ``waitpid(2)`` said as a status of now; a deadly signal's number adds to 128."""
    code = os.waitstatus_to_exitcode(wait_status)
    now = SYSTEM_CLOCK.time_ns()
    if code < 0:
        return ExitStatus(exit_code=128 - code, signal=-code, exited_at_ns=now)
    return ExitStatus(exit_code=code, signal=0, exited_at_ns=now)


def store_exit(run_dir: str, status: ExitStatus) -> None:
    """Leave ``status`` for whoever comes when the shim is dead, whole or not at all.

    It is not flushed to disk: a container does not survive a power cut either.
    """
    data = json.dumps(encode_exit(status)).encode()
    write_atomic(os.path.join(run_dir, EXIT_NAME), data, durable=False)


def load_exit(run_dir: str) -> ExitStatus | None:
    """Return the status a shim left in ``run_dir``, or None when none ended there."""
    try:
        with open(os.path.join(run_dir, EXIT_NAME), "rb") as file:
            data = file.read()
        return parse_exit(fields.read_object(json.loads(data), EXIT_NAME))
    except (OSError, ValueError, KedgeError):
        return None
