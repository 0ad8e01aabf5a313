"""``down`` as steps: dependents first, then networks, and what else was asked for. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.observed import Container, Observed
from kedge.compose.steps import (
    Plan,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    RunProvider,
    Step,
    StopContainer,
)
from kedge.lib.fields import mapping, objects, text


class DownWishes(NamedTuple):
    """What the command line asks for."""

    services: tuple[str, ...] = ()
    """Only these; empty for the whole project."""
    remove_orphans: bool = False
    volumes: bool = False
    images: str = ""
    """``local`` for those without a name of their own, ``all``, or nothing."""
    timeout_s: int | None = None


def plan_down(app: Application, observed: Observed, wishes: DownWishes) -> Plan:
    """Return the steps that take a project, or some of its services, away."""
    steps: list[Step] = []
    containers = _containers(app, observed, wishes)
    stops: dict[str, list[str]] = {}
    for one in containers:
        if one.is_running:
            stops.setdefault(one.service, []).append(f"stop:{one.name}")
    for one in containers:
        needs = () if one.oneoff else tuple(_dependents(app, one.service, stops))
        hooks = tuple(objects(app.service(one.service), "pre_stop"))
        if one.is_running:
            stop = f"stop:{one.name}"
            steps.append(StopContainer(stop, needs, one, wishes.timeout_s, hooks))
            needs = (stop,)
        # A volume without a name goes with its container when volumes are to go. What a container
        # leaves behind is removed while what it depended on stops.
        steps.append(
            RemoveContainer(f"remove:{one.name}", needs, one, volumes=wishes.volumes, stop=False)
        )
    gone = tuple(step.key for step in steps if isinstance(step, RemoveContainer))
    steps += _providers(app, wishes, stops)
    if not wishes.services:
        steps += _resources(app, observed, wishes, gone)
    steps += _images(app, observed, wishes, gone)
    return Plan(tuple(steps), _nothing(app, steps))


def _nothing(app: Application, steps: Sequence[Step]) -> tuple[str, ...]:
    return () if steps else (f'No resource found to remove for project "{app.name}".',)


def _containers(app: Application, observed: Observed, wishes: DownWishes) -> list[Container]:
    known = app.disabled.union(app.services)
    found: list[Container] = []
    for one in observed.containers:
        if wishes.services:
            wanted = one.service in wishes.services and (not one.oneoff or wishes.remove_orphans)
        else:
            wanted = wishes.remove_orphans or (not one.oneoff and one.service in known)
        if wanted:
            found.append(one)
    order = {name: at for at, name in enumerate(app.with_dependencies(app.services))}
    return sorted(found, key=lambda one: (-order.get(one.service, len(order)), one.name))


def _dependents(app: Application, service: str, keys: dict[str, list[str]]) -> list[str]:
    return [
        key
        for other in app.services
        if service in mapping(app.service(other), "depends_on") and other != service
        for key in keys.get(other, ())
    ]


def _providers(app: Application, wishes: DownWishes, stops: dict[str, list[str]]) -> list[Step]:
    return [
        RunProvider(
            f"provider:{name}",
            tuple(_dependents(app, name, stops)),
            name,
            "down",
            mapping(app.service(name), "provider"),
        )
        for name in app.services
        if app.service(name).get("provider") and (not wishes.services or name in wishes.services)
    ]


def _resources(
    app: Application, observed: Observed, wishes: DownWishes, gone: tuple[str, ...]
) -> list[Step]:
    steps: list[Step] = [
        RemoveNetwork(f"network:{one.name}", gone, one.name, one.id)
        for one in observed.networks
        if not app.is_external("networks", one.key)
    ]
    if wishes.volumes:
        steps += [
            RemoveVolume(f"volume:{one.name}", gone, one.name)
            for one in observed.volumes
            if not app.is_external("volumes", one.key)
        ]
    return steps


def _images(
    app: Application, observed: Observed, wishes: DownWishes, gone: tuple[str, ...]
) -> list[Step]:
    if not wishes.images:
        return []
    found: dict[str, None] = {}
    for name in app.services:
        if wishes.services and name not in wishes.services:
            continue
        if not app.from_files:
            built = labels.image_name(app.name, name, app.separator)
            found |= dict.fromkeys(
                one.image
                for one in observed.of_service(name)
                if wishes.images == "all" or one.image == built
            )
        elif wishes.images == "all" or not text(app.service(name), "image"):
            found[app.image(name)] = None
    return [RemoveImage(f"image:{image}", gone, image) for image in found if image]
