"""``docker top``: a container's processes as ``ps -ef`` prints them, read from /proc."""

import os
import pwd
import time
from typing import Final

from kedge.api.types.container import TopResponse
from kedge.errdefs import NotSupportedError

_TITLES: Final = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def list_processes(pids: list[int], ps_args: str) -> TopResponse:
    """Return one row for each process that still exists.

    Args:
        pids: Process ids on the host.
        ps_args: What the client passes for ``ps``; ``-ef`` or nothing.

    Raises:
        NotSupportedError: Other columns are asked for.
    """
    if ps_args not in {"", "-ef", "ef"}:
        raise NotSupportedError(
            f"ps {ps_args}: only the columns of ps -ef are supported: leave it out"
        )
    rows = [row for pid in pids if (row := _try_read(pid)) is not None]
    return TopResponse(titles=list(_TITLES), processes=rows)


def _try_read(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            text = stream.read()
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            command = stream.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    # The name may hold spaces and parentheses: the fields start after the last one.
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    parent, terminal = fields[1], int(fields[4])
    used = (int(fields[11]) + int(fields[12])) // _TICKS
    started = _boot_time() + int(fields[19]) / _TICKS
    age = max(time.clock_gettime(time.CLOCK_REALTIME) - started, 1)
    return [
        _user_name(uid),
        str(pid),
        parent,
        str(min(int(used * 100 / age), 99)),
        time.strftime("%H:%M", time.localtime(started)),
        f"pts/{terminal & 0xFF}" if terminal else "?",
        f"{used // 3600:02d}:{used // 60 % 60:02d}:{used % 60:02d}",
        command or f"[{name}]",
    ]


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
