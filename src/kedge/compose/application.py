"""An application as verbs work with it: the presented model, its names and its environment. Pure.

It comes from files, or, where only the project's name is known, from the labels of what runs.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kedge.compose import labels
from kedge.compose.containerconfig import truth
from kedge.compose.failures import no_such_service
from kedge.compose.observed import Observed
from kedge.lib.fields import mapping, text
from kedge.lib.jsontypes import JsonObject


class Application(NamedTuple):
    """One project."""

    name: str
    model: JsonObject
    """As ``compose config`` prints it; from labels, services have only ``depends_on``."""
    env: Mapping[str, str]
    """What the files were read with; settings such as ``COMPOSE_PARALLEL_LIMIT`` are in it."""
    directory: str = ""
    files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()
    """Services that are off by their profiles."""
    separator: str = "-"
    from_files: bool = True

    @property
    def services(self) -> JsonObject:
        """The services by name."""
        return mapping(self.model, "services")

    def service(self, name: str) -> JsonObject:
        """Return one service; empty where it is not known."""
        return mapping(self.services, name)

    def dependencies(self, name: str) -> list[str]:
        """Return what a service depends on, among the services there are."""
        return [one for one in mapping(self.service(name), "depends_on") if one in self.services]

    def checked(self, names: Iterable[str]) -> list[str]:
        """Return the names given, or all services where none is.

        Raises:
            NotFoundError: A service is not there.
        """
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            if name not in self.services:
                raise no_such_service(name, self.services)
        return wanted or list(self.services)

    def with_dependencies(self, names: Iterable[str]) -> list[str]:
        """Return services and everything they depend on, dependencies first."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        pending = [(name, False) for name in reversed(list(names))]
        while pending:
            name, left = pending.pop()
            if left:
                found[name] = None
            elif name not in seen:
                seen.add(name)
                pending.append((name, True))
                pending += [(other, False) for other in reversed(self.dependencies(name))]
        return list(found)

    def dependents(self, names: Iterable[str]) -> list[str]:
        """Return every service that depends on one of these, however far."""
        found = set(names)
        start = frozenset(found)
        changed = True
        while changed:
            more = {
                name for name in self.services
                if name not in found and found & set(self.dependencies(name))
            }  # fmt: skip
            changed = bool(more)
            found |= more
        return sorted(found - start)

    def image(self, name: str) -> str:
        """Return the image of a service; a built one without a name has the project's."""
        declared = text(self.service(name), "image")
        return declared or labels.image_name(self.name, name, self.separator)

    def container_name(self, service: str, number: int) -> str:
        """Return what a container of a service is called."""
        declared = text(self.service(service), "container_name")
        return declared or labels.container_name(self.name, service, number, self.separator)

    def resource_name(self, kind: str, key: str) -> str:
        """Return what the engine calls a network or volume of the model."""
        return text(self.model, kind, key, "name") or f"{self.name}_{key}"

    def is_external(self, kind: str, key: str) -> bool:
        """Whether somebody else makes a network or volume."""
        return truth(mapping(self.model, kind, key).get("external"))


def application_from_labels(name: str, observed: Observed, env: Mapping[str, str]) -> Application:
    """Return what the labels of containers, networks and volumes tell of a project."""
    services: JsonObject = {}
    for container in observed.containers:
        if container.service and not container.oneoff:
            services[container.service] = {
                "image": container.image,
                "depends_on": {
                    service: {"condition": condition, "restart": restart}
                    for service, (condition, restart) in container.depends_on().items()
                },
            }
    model: JsonObject = {
        "name": name,
        "services": services,
        "networks": {one.key: {"name": one.name} for one in observed.networks if one.key},
        "volumes": {one.key: {"name": one.name} for one in observed.volumes if one.key},
    }
    return Application(name, model, env, from_files=False)
