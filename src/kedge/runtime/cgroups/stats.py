"""The counters of a cgroup in one shape for both versions, and the kernel's file formats."""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


UNLIMITED: Final = -1

# PAGE_COUNTER_MAX times the page size: what cgroup v1 shows for "no limit", whatever the page size.
_V1_UNLIMITED_FROM: Final = 1 << 62


class CpuStats(NamedTuple):
    """Processor time in nanoseconds, and how often the quota stopped the cgroup."""

    usage_ns: int = 0
    user_ns: int = 0
    system_ns: int = 0
    percpu_ns: tuple[int, ...] = ()
    """Only cgroup v1 counts per processor."""
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


class MemoryStats(NamedTuple):
    """Memory in bytes; ``limit`` is -1 when there is none."""

    usage: int = 0
    max_usage: int = 0
    limit: int = UNLIMITED
    failcnt: int = 0
    oom_kills: int = 0
    stat: dict[str, int] = {}  # noqa: RUF012 - a NamedTuple default, never changed
    """``memory.stat`` as the kernel prints it."""


class PidsStats(NamedTuple):
    """Number of tasks; ``limit`` is -1 when there is none."""

    current: int = 0
    limit: int = UNLIMITED


class BlkioEntry(NamedTuple):
    """One counter of one block device; ``op`` is ``Read``/``Write``... on v1, lower case on v2."""

    major: int
    minor: int
    op: str
    value: int


class CgroupStats(NamedTuple):
    """Everything ``docker stats`` shows except the network."""

    version: int
    cpu: CpuStats = CpuStats()
    memory: MemoryStats = MemoryStats()
    pids: PidsStats = PidsStats()
    io_service_bytes: tuple[BlkioEntry, ...] = ()
    io_serviced: tuple[BlkioEntry, ...] = ()


def parse_flat_keyed(text: str) -> dict[str, int]:
    """Return ``name number`` lines as a dict; other lines are left out."""
    pairs: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            pairs[name] = int(value)
    return pairs


def parse_limit(text: str) -> int:
    """Return a limit file's number, -1 for ``max`` and for v1's way to say unlimited."""
    text = text.strip()
    if text == "max" or not text.isdigit():
        return UNLIMITED
    value = int(text)
    return UNLIMITED if value >= _V1_UNLIMITED_FROM else value


def parse_number(text: str) -> int:
    """Return the file's one number, 0 when there is none."""
    text = text.strip()
    return int(text) if text.isdigit() else 0


def parse_blkio(text: str) -> tuple[BlkioEntry, ...]:
    """Return v1's ``major:minor Op number`` lines; the ``Total`` over all devices is left out."""
    entries: list[BlkioEntry] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2].isdigit():
            major, _, minor = words[0].partition(":")
            entries.append(BlkioEntry(int(major), int(minor), words[1], int(words[2])))
    return tuple(entries)


def parse_io_stat(text: str, keys: dict[str, str]) -> tuple[BlkioEntry, ...]:
    """Return the wanted keys of v2's ``io.stat``.

    Args:
        text: ``major:minor rbytes=1 wbytes=2 ...`` lines.
        keys: Kernel key to the operation's name, such as ``{"rbytes": "read"}``.
    """
    entries: list[BlkioEntry] = []
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in keys and value.isdigit():
                entries.append(BlkioEntry(int(major), int(minor), keys[key], int(value)))
    return tuple(entries)
