"""``docker ps``: which containers match the filters, and in which order. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from kedge.api.options import ListOptions
from kedge.engine.containers import Container
from kedge.engine.healthrules import HealthStatus
from kedge.engine.ports import parse_port
from kedge.engine.record import ContainerRecord
from kedge.engine.state import Status
from kedge.errdefs import InvalidParameterError
from kedge.lib.filters import Filters

_KEYS: Final = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label",
    "name", "network", "publish", "since", "status", "volume",
)  # fmt: skip


def select_containers(
    containers: Sequence[Container],
    options: ListOptions,
    *,
    find: Callable[[str], Container],
    ancestors: Callable[[str], frozenset[str]],
    aliases: Mapping[str, Sequence[str]],
) -> list[Container]:
    """Return the containers that ``options`` ask for, newest first.

    Args:
        containers: All of them.
        options: Docker's rules: without ``all``, ``limit`` or a status filter, running ones only.
        find: Looks a container up for ``before`` and ``since``.
        ancestors: Ids of the images that ``ancestor`` stands for.
        aliases: Names that links give containers, by id.

    Raises:
        InvalidParameterError: An unknown filter or value.
        NotFoundError: ``before`` or ``since`` name no container.
    """
    filters = options.filters
    filters.check_keys(_KEYS)
    _check_values(filters)
    ordered = sorted(containers, key=lambda item: item.record.created_ns, reverse=True)
    everything = options.all or options.limit > 0 or "status" in filters or "exited" in filters
    before = [find(value).record.created_ns for value in filters.get("before")]
    since = [find(value).record.created_ns for value in filters.get("since")]
    images = [ancestors(value) for value in filters.get("ancestor")]
    chosen = [
        item
        for item in ordered
        if (everything or item.record.alive or item.record.status is Status.RESTARTING)
        and _matches(item.record, filters)
        and _matches_name((item.name, *aliases.get(item.id, ())), filters)
        and all(item.record.created_ns < limit for limit in before)
        and all(item.record.created_ns > limit for limit in since)
        and (not images or any(item.record.image_id in ids for ids in images))
    ]
    return chosen[: options.limit] if options.limit > 0 else chosen


def _check_values(filters: Filters) -> None:
    for status in filters.get("status"):
        if status not in set(Status):
            raise InvalidParameterError(
                f"invalid filter 'status={status}': want one of {', '.join(Status)}"
            )
    for health in filters.get("health"):
        if health not in {"none", *HealthStatus}:
            raise InvalidParameterError(
                f"invalid filter 'health={health}': want none, {', '.join(HealthStatus)}"
            )
    for code in filters.get("exited"):
        if not code.lstrip("-").isdigit():
            raise InvalidParameterError(f"invalid filter 'exited={code}': want a number")
    filters.boolean("is-task", default=False)


def _matches(record: ContainerRecord, filters: Filters) -> bool:
    return (
        # No container is a task of a swarm.
        not filters.boolean("is-task", default=False)
        and filters.matches_exactly("status", record.status)
        and filters.matches_prefix("id", record.id)
        and filters.matches_labels(record.config.labels)
        and ("exited" not in filters or _matches_exit(record, filters))
        and _matches_ports(record, filters)
        and _matches_any("network", _network_names(record), filters)
        and _matches_any("volume", _volume_names(record), filters)
        and filters.matches_exactly("health", _health(record))
    )


def _health(record: ContainerRecord) -> str:
    return "none" if record.health is None else str(record.health.status)


def _matches_name(names: Iterable[str], filters: Filters) -> bool:
    # Docker matches with and without the leading slash.
    return any(
        filters.matches_pattern("name", name) or filters.matches_pattern("name", f"/{name}")
        for name in names
    )


def _matches_exit(record: ContainerRecord, filters: Filters) -> bool:
    ended = record.status is Status.EXITED and record.finished_ns > 0
    return ended and str(record.exit_code) in filters.get("exited")


def _matches_ports(record: ContainerRecord, filters: Filters) -> bool:
    published = {str(parse_port(text)) for text, bindings in record.ports.items() if bindings}
    exposed = {str(parse_port(text)) for text in record.config.exposed_ports} | published
    for key, ports in (("publish", published), ("expose", exposed)):
        wanted = filters.get(key)
        if wanted and not any(str(parse_port(value)) in ports for value in wanted):
            return False
    return True


def _network_names(record: ContainerRecord) -> set[str]:
    names = set(record.networks)
    return names | {settings.network_id for settings in record.networks.values()}


def _volume_names(record: ContainerRecord) -> set[str]:
    return {name for point in record.mounts for name in (point.name, point.destination) if name}


def _matches_any(key: str, have: set[str], filters: Filters) -> bool:
    wanted = filters.get(key)
    return not wanted or any(value in have for value in wanted)
