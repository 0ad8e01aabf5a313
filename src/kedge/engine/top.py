"""``docker top``: a container's processes as ``ps`` prints them, read from /proc.

The formats of ``ps`` that people pass are known: ``-ef``, ``aux`` and ``-o`` with columns by name.
No program is started, so it works on hosts without ``ps``; any other argument is refused by name.
"""

import os
import pwd
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from kedge.api.types.container import TopResponse
from kedge.errdefs import InvalidParameterError, NotSupportedError

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
_DAY_S: Final = 86400


class _Process(NamedTuple):
    """One process: the fields of proc(5) that columns are made of."""

    pid: int
    uid: int
    gid: int
    name: str
    command: str
    stat: list[str]
    """The fields of ``/proc/pid/stat`` from the state on."""

    def number(self, position: int) -> int:
        """Return a field by its number in proc(5)."""
        return int(self.stat[position - 3])

    @property
    def used_s(self) -> int:
        """Processor time."""
        return (self.number(14) + self.number(15)) // _TICKS

    @property
    def started_s(self) -> float:
        """When it began, since the epoch."""
        return _boot_time() + self.number(22) / _TICKS

    @property
    def age_s(self) -> float:
        """How long it has been there."""
        return max(time.clock_gettime(time.CLOCK_REALTIME) - self.started_s, 1)


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)


def _user(process: _Process) -> str:
    try:
        return pwd.getpwuid(process.uid).pw_name
    except KeyError:
        return str(process.uid)


def _terminal(process: _Process) -> str:
    number = process.number(7)
    return f"pts/{number & 0xFF}" if number else "?"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _elapsed(process: _Process) -> str:
    seconds = int(process.age_s)
    days, text = seconds // _DAY_S, _clock(seconds % _DAY_S)
    return f"{days}-{text}" if days else text.removeprefix("00:")


def _cpu(process: _Process) -> float:
    return min(process.used_s * 100 / process.age_s, 99.9)


def _memory(process: _Process) -> float:
    return process.number(24) * 100 / os.sysconf("SC_PHYS_PAGES")


def _start(process: _Process) -> str:
    form = "%H:%M" if process.age_s < _DAY_S else "%b%d"
    return time.strftime(form, time.localtime(process.started_s))


def _program(process: _Process) -> str:
    return process.command or f"[{process.name}]"


_Render = Callable[[_Process], str]
_COLUMNS: Final[dict[str, tuple[str, _Render]]] = {
    "user": ("USER", _user),
    "uid": ("UID", lambda process: str(process.uid)),
    "gid": ("GID", lambda process: str(process.gid)),
    "pid": ("PID", lambda process: str(process.pid)),
    "ppid": ("PPID", lambda process: str(process.number(4))),
    "pgid": ("PGID", lambda process: str(process.number(5))),
    "sid": ("SID", lambda process: str(process.number(6))),
    "c": ("C", lambda process: str(int(_cpu(process)))),
    "%cpu": ("%CPU", lambda process: f"{_cpu(process):.1f}"),
    "%mem": ("%MEM", lambda process: f"{_memory(process):.1f}"),
    "vsz": ("VSZ", lambda process: str(process.number(23) // 1024)),
    "rss": ("RSS", lambda process: str(process.number(24) * _PAGE_KIB)),
    "tty": ("TTY", _terminal),
    "stat": ("STAT", lambda process: process.stat[0]),
    "stime": ("STIME", _start),
    "start": ("START", _start),
    "lstart": ("STARTED", lambda process: time.ctime(process.started_s)),
    "time": ("TIME", lambda process: _clock(process.used_s)),
    "etime": ("ELAPSED", _elapsed),
    "etimes": ("ELAPSED", lambda process: str(int(process.age_s))),
    "ni": ("NI", lambda process: str(process.number(19))),
    "pri": ("PRI", lambda process: str(39 - process.number(18))),
    "nlwp": ("NLWP", lambda process: str(process.number(20))),
    "psr": ("PSR", lambda process: str(process.number(39))),
    "comm": ("COMMAND", lambda process: process.name),
    "args": ("COMMAND", _program),
    "cmd": ("CMD", _program),
}
_ALIASES: Final = {
    "command": "args", "pcpu": "%cpu", "pmem": "%mem", "cputime": "time", "tt": "tty",
    "tname": "tty", "s": "stat", "state": "stat", "euser": "user", "uname": "user", "euid": "uid",
    "egid": "gid", "ucmd": "comm", "nice": "ni", "thcount": "nlwp", "vsize": "vsz", "rssize": "rss",
    "start_time": "stime", "pgrp": "pgid", "sess": "sid", "session": "sid",
}  # fmt: skip
_FULL: Final = ("user=UID", "pid", "ppid", "c", "stime", "tty", "time", "cmd")
_LOAD: Final = (
    "user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time", "args",
)  # fmt: skip


def list_processes(pids: list[int], ps_args: str) -> TopResponse:
    """Return one row for each process that still exists.

    Args:
        pids: Process ids on the host.
        ps_args: What the client passes for ``ps``.

    Raises:
        InvalidParameterError: The columns lack the process id, with Docker's text.
        NotSupportedError: An argument or a column that is not known.
    """
    columns = parse_columns(ps_args)
    found = [process for pid in pids if (process := _try_read(pid)) is not None]
    return TopResponse(
        titles=[title for title, _ in columns],
        processes=[[render(process) for _, render in columns] for process in found],
    )


def parse_columns(ps_args: str) -> list[tuple[str, _Render]]:
    """Return title and content of the columns that arguments of ``ps`` ask for."""
    names: list[str] = []
    words = ps_args.split()
    while words:
        word = words.pop(0)
        letters, separator, rest = word.lstrip("-").partition("o")
        if separator and set(letters) <= set("eaxAw"):
            # -o a,b  -eo a,b  -oa,b  axo a,b
            names.extend((rest or (words.pop(0) if words else "")).split(","))
        elif word.lstrip("-").rstrip("w") in {"aux", "ux", "u", "axu"}:
            names = names or list(_LOAD)
        elif word.lstrip("-").rstrip("w") not in {"ef", "fe", "f", "e", "A", "a", "x", "ax", ""}:
            raise NotSupportedError(
                f"ps {word} is not supported: use -ef, aux, or -o with columns such as pid,comm"
            )
    columns = [_parse_column(name) for name in names or _FULL]
    if not any(render is _COLUMNS["pid"][1] for _, render in columns):
        raise InvalidParameterError("Couldn't find PID field in ps output: add the column pid")
    return columns


def _parse_column(text: str) -> tuple[str, _Render]:
    name, separator, title = text.partition("=")
    column = _COLUMNS.get(_ALIASES.get(name, name))
    if column is None:
        raise NotSupportedError(f"ps -o {name}: no such column: known are {', '.join(_COLUMNS)}")
    return (title if separator else column[0]), column[1]


def _try_read(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            text = stream.read()
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            command = stream.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        owner = os.stat(f"/proc/{pid}")
    except OSError:
        return None
    # The name may hold spaces and parentheses: the fields start after the last one.
    return _Process(
        pid=pid,
        uid=owner.st_uid,
        gid=owner.st_gid,
        name=text[text.index("(") + 1 : text.rindex(")")],
        command=command,
        stat=text[text.rindex(")") + 2 :].split(),
    )
