"""What becomes of each container of a service: kept, recreated and why, removed, or new. Pure.

The rules are Docker Compose's: obsolete containers go first when there are too many, then those
with the highest numbers; new ones take the lowest free numbers.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.facts import Facts
from kedge.compose.fingerprint import describe_changes, service_hash
from kedge.compose.hostconfig import replicas
from kedge.compose.observed import Container
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import mapping, objects, text, texts

_MODES: Final = ("network_mode", "ipc", "pid")


class Recreate(StrEnum):
    """When containers that are there are made anew."""

    DIVERGED = "diverged"
    FORCE = "force"
    NEVER = "never"


class Decision(NamedTuple):
    """What becomes of a service."""

    kept: tuple[Container, ...] = ()
    recreated: Mapping[str, str] = {}
    """Reason by container id, for some of ``kept``."""
    new: tuple[int, ...] = ()
    """Numbers of containers to make."""
    removed: tuple[Container, ...] = ()


class Circumstances(NamedTuple):
    """What has been decided before the service, on whose grounds it may have to follow."""

    changed_services: Collection[str] = ()
    """Services whose containers are made anew."""
    changed_networks: Collection[str] = ()
    """Keys of networks that are made anew."""
    changed_volumes: Collection[str] = ()
    """Keys of volumes that are made anew; their containers have to go before."""


def decide(
    app: Application,
    name: str,
    facts: Facts,
    *,
    policy: Recreate,
    circumstances: Circumstances,
    scale: int | None,
) -> Decision:
    """Return what becomes of the containers of a service.

    Raises:
        InvalidParameterError: More than one container of a service with a name of its own.
    """
    service = app.service(name)
    wanted = replicas(service) if scale is None else scale
    if wanted > 1 and service.get("container_name"):
        raise InvalidParameterError(
            f'service "{name}" has the container name "{service["container_name"]}", which only '
            "one container can have: take container_name out to scale it"
        )
    existing = facts.observed.of_service(name)
    reasons = {
        one.id: reason
        for one in existing
        if (reason := _reason(app, name, one, facts, policy, circumstances))
    }
    by_worth = sorted(existing, key=lambda one: (one.id in reasons, one.number))
    kept, removed = by_worth[:wanted], by_worth[wanted:]
    taken = {one.number for one in kept}
    free = [n for n in range(1, wanted + len(taken) + 1) if n not in taken]
    return Decision(
        tuple(sorted(kept, key=lambda one: one.number)),
        {one.id: reasons[one.id] for one in kept if one.id in reasons},
        tuple(free[: wanted - len(kept)]),
        tuple(removed),
    )


def _reason(
    app: Application,
    name: str,
    container: Container,
    facts: Facts,
    policy: Recreate,
    circumstances: Circumstances,
) -> str:
    """Return why a container has to be made anew; empty where it has not."""
    if policy is Recreate.FORCE:
        return "forced"
    if policy is Recreate.NEVER:
        return ""
    service = app.service(name)
    if container.config_hash != service_hash(service):
        if labels.CONFIG_PARTS not in container.labels:
            return "made by another program or version"
        return describe_changes(container.labels[labels.CONFIG_PARTS], service)
    image_id = facts.image_ids.get(name, "")
    known = container.labels.get(labels.IMAGE) or container.image_id
    if image_id and known and known != image_id:
        return "image changed"
    return (
        _parent_reason(app, name, container, facts, circumstances)
        or _network_reason(app, name, container, facts, circumstances)
        or _volume_reason(app, name, container, circumstances)
    )


def parents(app: Application, name: str) -> list[str]:
    """Return the services whose namespaces or volumes a service's containers share."""
    service = app.service(name)
    modes = [text(service, key) for key in _MODES]
    found = [mode.removeprefix("service:") for mode in modes if mode.startswith("service:")]
    found += [
        source.partition(":")[0]
        for source in texts(service, "volumes_from")
        if not source.startswith("container:")
    ]
    return [one for one in dict.fromkeys(found) if one in app.services]


def _parent_reason(
    app: Application, name: str, container: Container, facts: Facts, circumstances: Circumstances
) -> str:
    for parent in parents(app, name):
        if parent in circumstances.changed_services:
            return f"service {parent} is recreated"
    mode = text(container.record, "HostConfig", "NetworkMode")
    parent = text(app.service(name), "network_mode").removeprefix("service:")
    if mode.startswith("container:") and parent in app.services:
        ids = [one.id for one in facts.observed.of_service(parent)]
        if mode.removeprefix("container:") not in ids:
            return f"service {parent} was recreated"
    return ""


def _network_reason(
    app: Application, name: str, container: Container, facts: Facts, circumstances: Circumstances
) -> str:
    for key in mapping(app.service(name), "networks"):
        if key in circumstances.changed_networks:
            return f"network {key} changed"
        network = facts.networks.get(app.resource_name("networks", key))
        is_on = network is not None and network.id in container.networks.values()
        if container.state == "running" and not is_on:
            return f"not on network {key}"
    return ""


def _volume_reason(
    app: Application, name: str, container: Container, circumstances: Circumstances
) -> str:
    mounted = {text(mount, "Name") for mount in container.mounts}
    for volume in objects(app.service(name), "volumes"):
        key = text(volume, "source")
        if text(volume, "type") != "volume" or not key:
            continue
        if key in circumstances.changed_volumes:
            return f"volume {key} changed"
        if app.resource_name("volumes", key) not in mounted:
            return f"volume {key} is not mounted"
    return ""
