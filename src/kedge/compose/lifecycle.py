"""``start``, ``stop`` and ``restart`` as steps, on containers that are there. Pure."""

from collections.abc import Sequence
from typing import Final

from kedge.compose.application import Application
from kedge.compose.observed import Container, Observed
from kedge.compose.steps import (
    KeepContainer,
    Plan,
    RestartContainer,
    StartContainer,
    Step,
    StopContainer,
    WaitFor,
)
from kedge.errdefs import NotFoundError
from kedge.lib.fields import mapping, objects, text

READY: Final = "ready"
"""Condition of ``--wait``: running, and healthy where there is a health check."""


def final_condition(app: Application, name: str) -> str:
    """Return what ``--wait`` waits for: one-shots others depend on have to end well."""
    completed = "service_completed_successfully"
    for other in app.services:
        how = mapping(app.service(other), "depends_on").get(name)
        if text(how, "condition") == completed:
            return completed
    return READY


def plan_stop(
    app: Application, observed: Observed, services: Sequence[str], timeout_s: int | None
) -> Plan:
    """Return the steps that stop services, dependents before what they depend on."""
    running = {
        name: [one for one in observed.of_service(name) if one.is_running] for name in services
    }
    steps: list[Step] = []
    for name in services:
        needs = tuple(
            f"stop:{one.name}"
            for other in _direct_dependents(app, name)
            for one in running.get(other, ())
        )
        hooks = tuple(objects(app.service(name), "pre_stop"))
        steps += [
            StopContainer(f"stop:{one.name}", needs, one, timeout_s, hooks) for one in running[name]
        ]
    return Plan(tuple(steps))


def _direct_dependents(app: Application, name: str) -> list[str]:
    return [other for other in app.services if name in app.dependencies(other) and other != name]


def plan_start(
    app: Application,
    observed: Observed,
    services: Sequence[str],
    *,
    wait: bool,
    wait_timeout_s: int = 0,
) -> Plan:
    """Return the steps that start services that were created, in the order they depend.

    Raises:
        NotFoundError: A service has no container.
    """
    ordered = [name for name in app.with_dependencies(services) if name in set(services)]
    steps: list[Step] = []
    started: dict[str, tuple[str, ...]] = {}
    for name in ordered:
        containers = observed.of_service(name)
        if not containers and not app.service(name).get("provider"):
            raise NotFoundError(
                f'service "{name}" has no container to start: kedge compose up makes them'
            )
        needs = _readiness(app, observed, name, started, steps)
        keys: list[str] = []
        for one in containers:
            step = _start(app, name, one, needs)
            steps.append(step)
            keys.append(step.key)
        started[name] = tuple(keys)
    if wait:
        for name in ordered:
            names = tuple(one.name for one in observed.of_service(name))
            condition = final_condition(app, name)
            key = f"wait:{name}:{condition}:last"
            steps.append(
                WaitFor(
                    key, started[name], name, condition, containers=names, timeout_s=wait_timeout_s
                )
            )
    return Plan(tuple(steps))


def _start(app: Application, name: str, one: Container, needs: tuple[str, ...]) -> Step:
    if one.is_running:
        return KeepContainer(f"keep:{one.name}", (), one.name, "Running")
    hooks = tuple(objects(app.service(name), "post_start"))
    return StartContainer(f"start:{one.name}", needs, one.name, name, one.id, hooks)


def _readiness(
    app: Application,
    observed: Observed,
    name: str,
    started: dict[str, tuple[str, ...]],
    steps: list[Step],
) -> tuple[str, ...]:
    found: list[str] = []
    for other, how in mapping(app.service(name), "depends_on").items():
        if other not in started:
            continue
        condition = text(how, "condition") or "service_started"
        if condition == "service_started":
            found += started[other]
            continue
        required = mapping(how).get("required") is not False
        key = f"wait:{other}:{condition}{'' if required else ':optional'}"
        if all(step.key != key for step in steps):
            names = tuple(one.name for one in observed.of_service(other))
            steps.append(WaitFor(key, started[other], other, condition, required, names))
        found.append(key)
    return tuple(found)


def plan_restart(
    app: Application,
    observed: Observed,
    services: Sequence[str],
    timeout_s: int | None,
    *,
    dependents: bool,
) -> Plan:
    """Return the steps that restart services, and those that want to follow them."""
    chosen = set(services)
    if dependents:
        chosen |= _followers(app, chosen)
    ordered = [name for name in app.with_dependencies(app.services) if name in chosen]
    steps: list[Step] = []
    done: dict[str, tuple[str, ...]] = {}
    for name in ordered:
        needs = tuple(key for other in app.dependencies(name) for key in done.get(other, ()))
        keys: list[str] = []
        service = app.service(name)
        for one in observed.of_service(name):
            key = f"restart:{one.name}"
            before, after = objects(service, "pre_stop"), objects(service, "post_start")
            steps.append(
                RestartContainer(key, needs, one, name, timeout_s, tuple(before), tuple(after))
            )
            keys.append(key)
        done[name] = tuple(keys)
    return Plan(tuple(steps))


def _followers(app: Application, chosen: set[str]) -> set[str]:
    """Return services with ``restart: true`` on one of ``chosen``, and those on them."""
    found: set[str] = set()
    for name in app.with_dependencies(app.services):
        if name in chosen:
            continue
        for other, how in mapping(app.service(name), "depends_on").items():
            if mapping(how).get("restart") is True and (other in chosen or other in found):
                found.add(name)
    return found
