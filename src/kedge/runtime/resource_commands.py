"""The commands of `kedge-runtime` about what a container uses: ``update``, ``events``, ``ps``."""

from __future__ import annotations

import contextlib
import json
import select
import sys
import time

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import parse_ram
from kedge.oci.fields import read_object
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime.cgroups.oom_alarm import OomAlarm
from kedge.runtime.failures import refusal
from kedge.runtime.options import SWITCH, VALUE, Command, Parsed, alias
from kedge.runtime.state import Container, StateDirectory, load_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject
    from kedge.runtime.cgroups.stats import CgroupStats
    from kedge.runtime.journal import Invocation


_UPDATE_FLAGS: Final = {
    "resources": VALUE,
    "r": alias("resources"),
    "memory": VALUE,
    "memory-reservation": VALUE,
    "memory-swap": VALUE,
    "cpu-period": VALUE,
    "cpu-quota": VALUE,
    "cpu-burst": VALUE,
    "cpu-share": VALUE,
    "cpu-shares": alias("cpu-share"),
    "cpu-rt-period": VALUE,
    "cpu-rt-runtime": VALUE,
    "cpu-idle": VALUE,
    "cpuset-cpus": VALUE,
    "cpuset-mems": VALUE,
    "blkio-weight": VALUE,
    "pids-limit": VALUE,
}
_EVENTS_FLAGS: Final = {"stats": SWITCH, "interval": VALUE}
_PS_FLAGS: Final = {"format": VALUE, "f": alias("format")}

# Flag, object of linux.resources, field of it.
_SIZES: Final = (
    ("memory", "memory", "limit"),
    ("memory-reservation", "memory", "reservation"),
    ("memory-swap", "memory", "swap"),
)
_NUMBERS: Final = (
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-idle", "cpu", "idle"),
    ("blkio-weight", "blockIO", "weight"),
    ("pids-limit", "pids", "limit"),
)
_LISTS: Final = (("cpuset-cpus", "cpu", "cpus"), ("cpuset-mems", "cpu", "mems"))


def resources_of_flags(options: Parsed) -> JsonObject:
    """Return ``linux.resources`` with what the flags of ``update`` change.

    Raises:
        InvalidParameterError: A value is no number or size.
    """
    values: list[tuple[str, str, Json]] = []
    for flag, section, field in _SIZES:
        if text := options.value(flag):
            values.append((section, field, -1 if text == "-1" else parse_ram(text)))
    for flag, section, field in _NUMBERS:
        if text := options.value(flag):
            if not text.removeprefix("-").isdecimal():
                raise InvalidParameterError(f"--{flag} must be a number, not {text!r}")
            values.append((section, field, int(text)))
    values += [(section, field, options.value(flag)) for flag, section, field in _LISTS]
    sections: dict[str, JsonObject] = {}
    for section, field, value in values:
        if value != "":
            sections.setdefault(section, {})[field] = value
    return {**sections}


def run_update(call: Invocation, options: Parsed) -> int:
    """Change the limits of a container, given by flags or as a document."""
    container = StateDirectory(call.root, options.one_argument("container id")).load()
    source = options.value("resources")
    document: Json = resources_of_flags(options)
    if source:
        document = load_json("/proc/self/fd/0" if source == "-" else source)
    elif not document:
        raise InvalidParameterError("update needs a limit, or --resources FILE (- for stdin)")
    resources = parse_resources(read_object(document, "resources"), "resources")
    container.living_cgroup().update(resources)
    return 0


def run_events(call: Invocation, options: Parsed) -> int:
    """Print the counters of a container at intervals, and when its memory has run out."""
    container = StateDirectory(call.root, options.one_argument("container id")).load()
    interval = options.value("interval", "5s").removesuffix("s")
    if not interval.isdecimal() or interval == "0":
        raise InvalidParameterError(f"--interval takes seconds such as 5s, not {interval!r}")
    cgroup = container.living_cgroup()
    if options.switch("stats"):
        _print_event(container, "stats", _stats_document(cgroup.stats()))
        return 0
    with contextlib.ExitStack() as undo:
        alarm = _alarm(cgroup.directories())
        poll = select.poll()
        if alarm is not None:
            undo.callback(alarm.close)
            poll.register(alarm.fd, select.POLLIN)
        while container.is_alive():
            _print_event(container, "stats", _stats_document(cgroup.stats()))
            _await_oom(container, alarm, poll, time.monotonic() + int(interval))
    return 0


def _alarm(directories: dict[str, str]) -> OomAlarm | None:
    try:
        return OomAlarm(directories)
    except OSError:
        return None  # no memory controller: then there is nothing to run out of


def _await_oom(
    container: Container, alarm: OomAlarm | None, poll: select.poll, until: float
) -> None:
    while (left := until - time.monotonic()) > 0:
        if poll.poll(left * 1000) and alarm is not None and alarm.take():
            _print_event(container, "oom", None)
        if not container.is_alive():
            return


def _print_event(container: Container, kind: str, data: JsonObject | None) -> None:
    document: JsonObject = {"type": kind, "id": container.container_id}
    if data is not None:
        document["data"] = data
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _stats_document(stats: CgroupStats) -> JsonObject:
    """Return the counters in runc's shape."""
    cpu, memory = stats.cpu, stats.memory
    return {
        "cpu": {
            "usage": {
                "total": cpu.usage_ns,
                "percpu": [*cpu.percpu_ns],
                "kernel": cpu.system_ns,
                "user": cpu.user_ns,
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "usage": {
                "limit": memory.limit,
                "usage": memory.usage,
                "max": memory.max_usage,
                "failcnt": memory.failcnt,
            },
            "raw": dict(memory.stat),
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit},
        "blkio": {
            "ioServiceBytesRecursive": _blkio(stats, "io_service_bytes"),
            "ioServicedRecursive": _blkio(stats, "io_serviced"),
        },
    }


def _blkio(stats: CgroupStats, name: str) -> list[Json]:
    entries = stats.io_serviced if name == "io_serviced" else stats.io_service_bytes
    return [
        {"major": each.major, "minor": each.minor, "op": each.op, "value": each.value}
        for each in entries
    ]


def run_ps(call: Invocation, options: Parsed) -> int:
    """Print the processes of a container, as ``ps`` with the options given shows them."""
    if not options.arguments:
        raise InvalidParameterError("ps needs a container id")
    container_id, *words = options.arguments
    pids = StateDirectory(call.root, container_id).load().living_cgroup().pids()
    if options.value("format", "table") == "json":
        sys.stdout.write(json.dumps(pids) + "\n")
        return 0
    sys.stdout.write("\n".join(lines_about(pids, _run_ps(words or ["-ef"]))) + "\n")
    return 0


def _run_ps(words: Sequence[str]) -> str:
    import subprocess  # noqa: PLC0415 - slow to import, and every command imports this module

    try:
        done = subprocess.run(["ps", *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise refusal("cannot run ps of the host (--format json needs none)", error) from error
    if done.returncode:
        raise SystemFailureError(f"ps {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def lines_about(pids: Sequence[int], table: str) -> list[str]:
    """Return the heading of a table of ``ps``, and its lines about ``pids``.

    Raises:
        InvalidParameterError: It has no column PID.
    """
    heading, *lines = table.splitlines()
    if "PID" not in heading.split():
        raise InvalidParameterError("ps was asked for a table without the column PID")
    column = heading.split().index("PID")
    wanted = {str(pid) for pid in pids}
    return [heading, *(line for line in lines if line.split()[column : column + 1][0] in wanted)]


COMMANDS: Final = {
    "update": Command(run_update, _UPDATE_FLAGS),
    "events": Command(run_events, _EVENTS_FLAGS),
    "ps": Command(run_ps, _PS_FLAGS),
}
