"""Scheduling, I/O priority, memory policy, execution domain and CPUs, as the spec names them."""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import scheduling
from kedge.runtime.failures import refusal

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec.types import IoPriority, MemoryPolicy, Personality, Scheduler


_POLICIES: Final = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
_FLAGS: Final = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
_IO_CLASSES: Final = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
# include/uapi/linux/mempolicy.h
_MEMORY_MODES: Final = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
_MEMORY_FLAGS: Final = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
_WITHOUT_NODES: Final = frozenset(("MPOL_DEFAULT", "MPOL_LOCAL"))
_NODES_OPTIONAL: Final = frozenset(("MPOL_PREFERRED",))
_NODE_MAX: Final = 1023
_DOMAINS: Final = {"LINUX": 0, "LINUX32": 0x0008}


def apply_scheduler(scheduler: Scheduler | None) -> None:
    """Set the scheduling policy."""
    if scheduler is None:
        return
    flags = 0
    for name in scheduler.flags:
        flags |= _FLAGS[name]
    try:
        scheduling.set_scheduler(
            _POLICIES[scheduler.policy],
            flags=flags,
            nice=scheduler.nice,
            priority=scheduler.priority,
            times_ns=(scheduler.runtime, scheduler.deadline, scheduler.period),
        )
    except OSError as error:
        raise refusal(f"cannot set the scheduler {scheduler.policy}", error) from error


def apply_io_priority(io_priority: IoPriority | None) -> None:
    """Set the I/O priority."""
    if io_priority is None:
        return
    try:
        scheduling.set_io_priority(_IO_CLASSES[io_priority.io_class], io_priority.priority)
    except OSError as error:
        raise refusal(f"cannot set the I/O priority {io_priority.io_class}", error) from error


class PlannedPolicy(NamedTuple):
    """A memory policy in the kernel's numbers."""

    name: str
    mode: int
    nodes: int
    """As a bit mask."""


def plan_memory_policy(policy: MemoryPolicy | None) -> PlannedPolicy | None:
    """Return ``policy`` in the kernel's numbers.

    Raises:
        InvalidParameterError: The mode wants nodes and has none, or the other way round.
    """
    if policy is None:
        return None
    nodes = parse_cpus(policy.nodes)
    if nodes and policy.mode in _WITHOUT_NODES:
        raise InvalidParameterError(f"linux.memoryPolicy.nodes: {policy.mode} takes none")
    if not nodes and policy.mode not in _WITHOUT_NODES | _NODES_OPTIONAL:
        raise InvalidParameterError(f"linux.memoryPolicy.nodes: {policy.mode} needs at least one")
    if any(node > _NODE_MAX for node in nodes):
        raise InvalidParameterError(f"linux.memoryPolicy.nodes: no node is above {_NODE_MAX}")
    flags = sum(_MEMORY_FLAGS[name] for name in set(policy.flags))
    mask = sum(1 << node for node in nodes)
    return PlannedPolicy(policy.mode, _MEMORY_MODES[policy.mode] | flags, mask)


def apply_memory_policy(policy: PlannedPolicy | None) -> None:
    """Set the memory policy."""
    if policy is None:
        return
    try:
        scheduling.set_memory_policy(policy.mode, policy.nodes)
    except OSError as error:
        raise refusal(f"cannot set the memory policy {policy.name}", error) from error


def apply_personality(personality: Personality | None) -> None:
    """Set the execution domain."""
    if personality is not None:
        scheduling.set_personality(_DOMAINS[personality.domain])


def parse_cpus(text: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-3,8``.

    Raises:
        InvalidParameterError: It is no such list.
    """
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidParameterError(f"{text!r} is no list of numbers such as 0-3,8")
        found.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(found)


def apply_cpus(cpus: frozenset[int]) -> None:
    """Bind this process to ``cpus``; an empty set changes nothing."""
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise refusal(f"cannot run on the CPUs {sorted(cpus)}", error) from error
