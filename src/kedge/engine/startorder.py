"""Who waits for whom when containers come back with the engine, and what ends the wait. Pure.

What is known of an order: joined namespaces, ``--link``, and the labels that Compose leaves on its
containers. ``com.docker.compose.depends_on`` holds ``SERVICE:CONDITION:RESTART`` in a list with
commas; the siblings are the containers of the same project with that service's name.

An order is a wish: a missing sibling, a circle, or a condition that cannot come true any more is a
warning, and the container is started without it.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from kedge.engine.healthrules import HealthStatus, make_plan
from kedge.engine.links import parse_link
from kedge.engine.record import ContainerRecord
from kedge.engine.state import Status
from kedge.errdefs import InvalidParameterError

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_DEPENDS_ON: Final = "com.docker.compose.depends_on"
_ONEOFF: Final = "com.docker.compose.oneoff"

_PATIENCE_S: Final = 60.0
_PATIENCE_COMPLETED_S: Final = 300.0


class Condition(StrEnum):
    """What a container may wait for, in Compose's words."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class Verdict(StrEnum):
    """Whether a need is met."""

    MET = "met"
    WAIT = "wait"
    NEVER = "never"


class Need(NamedTuple):
    """One container that another one waits for."""

    id: str
    condition: Condition


class StartOrder(NamedTuple):
    """The needs of each container that comes back, free of circles."""

    needs: dict[str, list[Need]]
    warnings: list[str]


def parse_depends_on(label: str) -> list[tuple[str, Condition]]:
    """Return services and conditions of Compose's label; an unknown condition means started."""
    found: list[tuple[str, Condition]] = []
    for item in filter(None, label.split(",")):
        service, _, rest = item.partition(":")
        word = rest.partition(":")[0]
        known = word in set(Condition)
        found.append((service, Condition(word) if known else Condition.STARTED))
    return found


def plan_order(records: Sequence[ContainerRecord], coming: Collection[str]) -> StartOrder:
    """Return what the containers with the ids ``coming`` wait for, among all ``records``."""
    names = {item.id: item.name for item in records}
    by_reference = {key: item.id for item in records for key in (item.id, item.name)}
    warnings: list[str] = []
    needs: dict[str, list[Need]] = {}
    for item in records:
        if item.id in coming:
            joined = [
                Need(by_reference[key], Condition.STARTED)
                for key in _joined(item)
                if key in by_reference
            ]
            wanted = [*joined, *_siblings(item, records, warnings)]
            needs[item.id] = [need for need in dict.fromkeys(wanted) if need.id != item.id]
    _cut_circles(needs, names, warnings)
    return StartOrder(needs, warnings)


def _joined(record: ContainerRecord) -> list[str]:
    """Return the ids or names of those whose namespaces or addresses this one starts with."""
    prefix = "container:"
    host = record.host_config
    modes = (host.network_mode, host.ipc_mode, host.pid_mode)
    found = [mode.removeprefix(prefix) for mode in modes if mode.startswith(prefix)]
    for link in host.links:
        try:
            found.append(parse_link(link)[0])
        except InvalidParameterError:
            continue
    return found


def _siblings(
    record: ContainerRecord, records: Sequence[ContainerRecord], warnings: list[str]
) -> list[Need]:
    labels, found = record.config.labels, list[Need]()
    for service, condition in parse_depends_on(labels.get(_DEPENDS_ON, "")):
        members = [
            other
            for other in records
            if other.config.labels.get(_PROJECT) == labels.get(_PROJECT)
            and other.config.labels.get(_SERVICE) == service
            and other.config.labels.get(_ONEOFF, "").lower() != "true"
        ]
        if not members:
            warnings.append(
                f"container {record.name} depends on service {service}, which has no container: "
                "it is started without"
            )
        found.extend(Need(other.id, condition) for other in members)
    return found


def _cut_circles(
    needs: dict[str, list[Need]], names: Mapping[str, str], warnings: list[str]
) -> None:
    """Drop the needs of those who wait for each other."""
    reach = {key: _reachable(key, needs) for key in needs}
    circles = {
        frozenset(other for other in reach[key] if key in reach.get(other, ()))
        for key in needs
        if key in reach[key]
    }
    for circle in sorted(circles, key=sorted):
        members = ", ".join(sorted(names[key] for key in circle))
        warnings.append(
            f"containers {members} depend on each other: they do not wait for each other"
        )
        for key in circle:
            needs[key] = [need for need in needs[key] if need.id not in circle]


def _reachable(start: str, needs: Mapping[str, Sequence[Need]]) -> set[str]:
    found: set[str] = set()
    left = [need.id for need in needs[start]]
    while left:
        key = left.pop()
        if key not in found:
            found.add(key)
            left.extend(need.id for need in needs.get(key, ()))
    return found


def judge(need: Need, target: ContainerRecord | None) -> Verdict:
    """Return what a container's present state means for one who waits for it."""
    if target is None:
        return Verdict.NEVER
    if target.status is Status.RESTARTING:
        return Verdict.WAIT
    if target.alive:
        return Verdict.MET if _meets_alive(need.condition, target) else Verdict.WAIT
    completed = target.status is Status.EXITED and target.exit_code == 0 and target.started_ns
    if need.condition is Condition.COMPLETED and completed:
        return Verdict.MET
    return Verdict.NEVER


def _meets_alive(condition: Condition, target: ContainerRecord) -> bool:
    match condition:
        case Condition.STARTED:
            return True
        case Condition.HEALTHY:
            health = target.health
            return health is None or health.status is HealthStatus.HEALTHY
        case Condition.COMPLETED:
            return False


def patience_s(need: Need, target: ContainerRecord) -> float:
    """Return how long to wait for a container once its own turn to start has come."""
    if need.condition is Condition.COMPLETED:
        return _PATIENCE_COMPLETED_S
    plan = make_plan(target.config) if need.condition is Condition.HEALTHY else None
    if plan is None:
        return _PATIENCE_S
    # By then Docker would have called it unhealthy.
    return _PATIENCE_S + (plan.start_period_ns + plan.retries * plan.interval_ns) / 1e9


def waiting_text(need: Need, target: str) -> str:
    """Return what a container that waits is waiting for."""
    words = {
        Condition.STARTED: "to be started",
        Condition.HEALTHY: "to be healthy",
        Condition.COMPLETED: "to complete",
    }
    return f"{target} {words[need.condition]}"
