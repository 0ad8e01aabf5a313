"""``up`` and ``create`` as steps: from what files ask for and what the engine has. Pure.

Networks and volumes come first, then every container is made, and each is started as soon as what
its service depends on is as it asks. Nothing here talks to an engine.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kedge.compose.application import Application
from kedge.compose.createspec import (
    container_spec,
    pre_start_specs,
    resource_labels,
    volume_request,
)
from kedge.compose.decisions import Circumstances, Decision, Recreate, decide, parents
from kedge.compose.endpoints import network_request
from kedge.compose.facts import Facts
from kedge.compose.lifecycle import final_condition
from kedge.compose.observed import Container, Network
from kedge.compose.resourceuse import differs, used_resources
from kedge.compose.steps import (
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    KeepContainer,
    Plan,
    PrepareService,
    RecreateContainer,
    RemoveContainer,
    RunProvider,
    StartContainer,
    Step,
    StopContainer,
    WaitFor,
)
from kedge.errdefs import NotFoundError
from kedge.lib.fields import mapping, objects, text


class Wishes(NamedTuple):
    """What the command line asks for."""

    services: tuple[str, ...] = ()
    """Services to bring up, dependencies before dependents."""
    named: frozenset[str] = frozenset()
    """Those that were asked for themselves."""
    recreate: Recreate = Recreate.DIVERGED
    recreate_dependencies: Recreate = Recreate.DIVERGED
    renew_volumes: bool = False
    scale: Mapping[str, int] = {}
    timeout_s: int | None = None
    remove_orphans: bool = False
    ignore_orphans: bool = False
    keep: bool = False
    """Leave all containers alone and only make networks and volumes; ``run`` makes its own."""
    ready_for: str = ""
    """A service outside of ``services`` whose dependencies have to be as it asks."""
    start: bool = True
    wait: bool = False
    wait_timeout_s: int = 0
    """How long ``wait`` may take; 0 is for ever."""
    recreate_volumes: frozenset[str] = frozenset()
    """Keys of changed volumes that may be made anew, data lost."""


def plan_up(app: Application, facts: Facts, wishes: Wishes) -> Plan:
    """Return the steps that make the engine's state what the application asks for.

    Raises:
        NotFoundError: An external network or volume is not there.
        KedgeError: A service that this host or engine cannot run as it is asked for.
    """
    return _Planner(app, facts, wishes).plan()


class _Planner:
    def __init__(self, app: Application, facts: Facts, wishes: Wishes) -> None:
        self._app = app
        self._facts = facts
        self._wishes = wishes
        self._steps: list[Step] = []
        self._warnings: list[str] = []
        self._resources: dict[str, str] = {}
        """Step by ``networks.KEY`` or ``volumes.KEY``."""
        self._decisions: dict[str, Decision] = {}
        self._restarted: set[str] = set()
        self._made: dict[str, list[str]] = {}
        """Steps after which the containers of a service exist."""
        self._started: dict[str, list[str]] = {}
        """Steps after which they run."""
        self._waits: dict[str, str] = {}

    def plan(self) -> Plan:
        changed = self._changed_networks()
        volumes = frozenset(self._wishes.recreate_volumes)
        for name in self._wishes.services:
            self._decide(name, changed, volumes)
        self._plan_networks(changed)
        self._plan_volumes(volumes)
        if self._wishes.keep:
            return Plan(tuple(self._steps), tuple(self._warnings))
        self._plan_orphans()
        for name in self._wishes.services:
            self._plan_stops(name)
        for name in self._wishes.services:
            self._plan_service(name)
        if self._wishes.ready_for:
            self._readiness(self._wishes.ready_for)
        if self._wishes.wait:
            for name in self._wishes.services:
                condition = final_condition(self._app, name)
                self._wait_for(
                    name, condition, required=True, timeout_s=self._wishes.wait_timeout_s
                )
        return Plan(tuple(self._steps), tuple(self._warnings))

    def _changed_networks(self) -> frozenset[str]:
        return frozenset(
            key
            for key in used_resources(self._app, self._wishes.services, "networks")
            if not self._app.is_external("networks", key)
            and (network := self._network(key)) is not None
            and differs(self._app, "networks", key, network.labels)
        )

    def _network(self, key: str) -> Network | None:
        return self._facts.networks.get(self._app.resource_name("networks", key))

    def _decide(self, name: str, networks: frozenset[str], volumes: frozenset[str]) -> None:
        wishes = self._wishes
        if self._app.service(name).get("provider"):
            return
        changed = {one for one, decision in self._decisions.items() if decision.recreated}
        is_named = not wishes.named or name in wishes.named
        self._decisions[name] = decide(
            self._app,
            name,
            self._facts,
            policy=wishes.recreate if is_named else wishes.recreate_dependencies,
            circumstances=Circumstances(changed, networks, volumes),
            scale=wishes.scale.get(name),
        )
        for other, how in mapping(self._app.service(name), "depends_on").items():
            follows = mapping(how).get("restart") is True
            if follows and (other in changed or other in self._restarted):
                self._restarted.add(name)

    def _plan_networks(self, changed: frozenset[str]) -> None:
        for key in used_resources(self._app, self._wishes.services, "networks"):
            name, network = self._app.resource_name("networks", key), self._network(key)
            if self._app.is_external("networks", key):
                if network is None:
                    raise NotFoundError(
                        f"network {name} declared as external, but could not be found: create it "
                        f"with 'kedge network create {name}'"
                    )
                continue
            if network is not None and key not in changed:
                if not network.project:
                    self._warnings.append(
                        f"a network with name {name} exists but was not created by compose. Set "
                        "`external: true` to use an existing network"
                    )
                continue
            step = f"network:{key}"
            request = network_request(
                mapping(self._app.model, "networks", key) | {"name": name},
                {**resource_labels(self._app, "networks", key)},
            )
            old = network.id if network else ""
            reason = "configuration changed" if old else ""
            self._steps.append(CreateNetwork(step, (), name, request, old, reason=reason))
            self._resources[f"networks.{key}"] = step

    def _plan_volumes(self, changed: frozenset[str]) -> None:
        for key in used_resources(self._app, self._wishes.services, "volumes"):
            name = self._app.resource_name("volumes", key)
            volume = self._facts.volumes.get(name)
            if self._app.is_external("volumes", key):
                if volume is None:
                    raise NotFoundError(
                        f'external volume "{name}" not found: create it with '
                        f"'kedge volume create {name}'"
                    )
                continue
            if volume is not None and key not in changed:
                if volume.project != self._app.name:
                    self._warnings.append(
                        f'volume "{name}" already exists but was not created by this project. Use '
                        "`external: true` to use an existing volume"
                    )
                continue
            step = f"volume:{key}"
            needs = self._remove_users(name) if volume is not None else ()
            request = volume_request(self._app, key)
            self._steps.append(
                CreateVolume(step, needs, name, request, volume is not None,
                             "configuration changed" if volume else "")
            )  # fmt: skip
            self._resources[f"volumes.{key}"] = step

    def _remove_users(self, volume: str) -> tuple[str, ...]:
        """Plan the removal of what uses a volume, and make those containers new ones."""
        keys: list[str] = []
        for container in self._facts.observed.containers:
            if volume not in {text(mount, "Name") for mount in container.mounts}:
                continue
            keys.append(self._remove(container, reason="its volume is made anew"))
            decision = self._decisions.get(container.service)
            if decision and container in decision.kept:
                self._decisions[container.service] = decision._replace(
                    kept=tuple(one for one in decision.kept if one != container),
                    recreated={k: v for k, v in decision.recreated.items() if k != container.id},
                    new=tuple(sorted((*decision.new, container.number))),
                )
        return tuple(keys)

    def _plan_orphans(self) -> None:
        known = self._app.disabled.union(self._app.services)
        orphans = [
            one
            for one in self._facts.observed.containers
            if not one.oneoff and one.service not in known
        ]
        if self._wishes.remove_orphans:
            for one in orphans:
                self._remove(one)
        elif orphans and not self._wishes.ignore_orphans:
            names = " ".join(one.name for one in orphans)
            self._warnings.append(
                f"Found orphan containers ([{names}]) for this project. If you removed or renamed "
                "this service in your compose file, you can run this command with the "
                "--remove-orphans flag to clean it up."
            )

    def _remove(self, container: Container, reason: str = "") -> str:
        key = f"remove:{container.name}"
        if all(step.key != key for step in self._steps):
            hooks = tuple(objects(self._app.service(container.service), "pre_stop"))
            self._steps.append(
                RemoveContainer(
                    key, (), container, self._wishes.timeout_s, hooks=hooks, reason=reason
                )
            )
        return key

    def _plan_stops(self, name: str) -> None:
        """Plan to stop what has to follow a service it depends on."""
        if name not in self._restarted or not self._wishes.start:
            return
        decision = self._decisions[name]
        for one in decision.kept:
            if one.is_running and one.id not in decision.recreated:
                hooks = tuple(objects(self._app.service(name), "pre_stop"))
                key = f"stop:{one.name}"
                self._steps.append(StopContainer(key, (), one, self._wishes.timeout_s, hooks=hooks))

    def _plan_service(self, name: str) -> None:
        service = self._app.service(name)
        if service.get("provider"):
            key = f"provider:{name}"
            needs = self._readiness(name)
            self._steps.append(RunProvider(key, needs, name, "up", mapping(service, "provider")))
            self._made[name] = self._started[name] = [key]
            return
        decision = self._decisions[name]
        made = self._made.setdefault(name, [])
        started = self._started.setdefault(name, [])
        for one in decision.removed:
            self._remove(one)
        to_start: list[tuple[str, str]] = []
        for container in decision.kept:
            if container.id in decision.recreated:
                key = self._recreate(name, container, decision.recreated[container.id])
                to_start.append((self._name(name, container.number), key))
            else:
                self._keep(name, container)
        removed = self._present(tuple(f"remove:{one.name}" for one in decision.removed))
        for number in decision.new:
            spec = container_spec(self._app, name, number, self._facts.image_ids.get(name, ""))
            key = f"create:{spec.name}"
            self._steps.append(CreateContainer(key, (*self._materials(name), *removed), spec))
            to_start.append((spec.name, key))
        made += [key for _, key in to_start]
        prepared = self._prepared(name)
        for container_name, key in to_start:
            self._start(name, container_name, (key, *prepared))
        if not self._wishes.start:
            started.extend(made)

    def _prepared(self, name: str) -> tuple[str, ...]:
        """Return the step of the service's ``pre_start``, where its containers are new."""
        decision = self._decisions[name]
        if not self._wishes.start or not (decision.new or decision.recreated):
            return ()
        specs = pre_start_specs(self._app, name)
        if not specs:
            return ()
        key = f"prepare:{name}"
        needs = tuple(dict.fromkeys((*self._made[name], *self._readiness(name))))
        self._steps.append(PrepareService(key, needs, name, specs))
        return (key,)

    def _name(self, service: str, number: int) -> str:
        return self._app.container_name(service, number)

    def _present(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        there = {step.key for step in self._steps}
        return tuple(key for key in keys if key in there)

    def _materials(self, name: str) -> tuple[str, ...]:
        """Return the steps that must be done before a container of a service can be made."""
        wanted = [f"networks.{key}" for key in mapping(self._app.service(name), "networks")]
        wanted += [f"volumes.{key}" for key in used_resources(self._app, [name], "volumes")]
        found = [self._resources[key] for key in wanted if key in self._resources]
        for parent in parents(self._app, name):
            found += self._made.get(parent, [])
        for other in self._app.dependencies(name):
            if self._app.service(other).get("provider"):
                found += self._made.get(other, [])
        return tuple(dict.fromkeys(found))

    def _recreate(self, name: str, container: Container, reason: str) -> str:
        number = container.number or 1
        spec = container_spec(self._app, name, number, self._facts.image_ids.get(name, ""))
        followers = [
            f"stop:{one.name}"
            for other in self._app.dependents([name])
            if other in self._restarted
            for one in self._decisions.get(other, Decision()).kept
        ]
        key = f"recreate:{spec.name}"
        self._steps.append(
            RecreateContainer(
                key,
                (*self._materials(name), *self._present(tuple(followers))),
                spec,
                container,
                reason,
                self._wishes.timeout_s,
                keep_volumes=not self._wishes.renew_volumes,
                hooks=tuple(objects(self._app.service(name), "pre_stop")),
            )
        )
        return key

    def _keep(self, name: str, container: Container) -> None:
        stop = self._present((f"stop:{container.name}",))
        if container.is_running and not stop:
            key = f"keep:{container.name}"
            self._steps.append(KeepContainer(key, (), container.name, "Running"))
            self._started[name].append(key)
        elif self._wishes.start:
            self._start(name, container.name, stop, container.id, "Restart" if stop else "Start")

    def _start(
        self,
        name: str,
        container: str,
        needs: tuple[str, ...],
        known: str = "",
        word: str = "Start",
    ) -> None:
        if not self._wishes.start:
            return
        key = f"start:{container}"
        hooks = tuple(objects(self._app.service(name), "post_start"))
        needs = tuple(dict.fromkeys((*needs, *self._readiness(name))))
        self._steps.append(StartContainer(key, needs, container, name, known, hooks, word))
        self._started[name].append(key)

    def _readiness(self, name: str) -> tuple[str, ...]:
        """Return the steps after which everything a service depends on is as it asks."""
        found: list[str] = []
        for other, how in mapping(self._app.service(name), "depends_on").items():
            if other not in self._started:
                continue
            condition = text(how, "condition") or "service_started"
            if condition == "service_started" or self._app.service(other).get("provider"):
                found += self._started[other]
            else:
                required = mapping(how).get("required") is not False
                found.append(self._wait_for(other, condition, required=required))
        return tuple(found)

    def _wait_for(self, name: str, condition: str, *, required: bool, timeout_s: int = 0) -> str:
        key = f"wait:{name}:{condition}{'' if required else ':optional'}"
        if key not in self._waits:
            self._waits[key] = key
            decision = self._decisions.get(name, Decision())
            names = [self._name(name, number) for number in decision.new]
            names += [
                self._name(name, one.number) if one.id in decision.recreated else one.name
                for one in decision.kept
            ]
            needs = tuple(self._started.get(name, []))
            self._steps.append(
                WaitFor(key, needs, name, condition, required, tuple(names), timeout_s)
            )
        return key
