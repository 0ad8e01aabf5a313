"""What the performers of steps share: connections, the report, and the containers made so far."""

import threading
from collections.abc import Iterable

from kedge.client.http import percent_encode
from kedge.compose.application import Application
from kedge.compose.changes import Changes
from kedge.compose.clients import ClientPool
from kedge.compose.events import Report
from kedge.compose.observed import Container
from kedge.errdefs import KedgeError, NotFoundError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.fields import text
from kedge.lib.jsontypes import JsonObject


class ServiceError(KedgeError):
    """A service failed; whoever tells the user may add what its container said last."""

    def __init__(
        self, message: str, *, service: str, container: str = "", health: str = ""
    ) -> None:
        """Name the service, and the container whose output may tell why."""
        super().__init__(message)
        self.service = service
        self.container = container
        self.health = health
        """What the health check printed last."""


class Stage:
    """Shared by all threads of one command."""

    def __init__(self, app: Application, pool: ClientPool, report: Report) -> None:
        """Begin without any container."""
        self.app = app
        self.pool = pool
        self.report = report
        self.changes = Changes(pool, app.name)
        self._began_s = SYSTEM_CLOCK.monotonic()
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}
        self._services: dict[str, list[str]] = {}
        self._environment: dict[str, dict[str, str]] = {}

    def age_s(self) -> float:
        """Return the seconds since the command began its work."""
        return SYSTEM_CLOCK.monotonic() - self._began_s

    def know(self, containers: Iterable[Container]) -> None:
        """Remember containers that are there."""
        for one in containers:
            if not one.oneoff:
                self.add(one.service, one.name, one.id)

    def add(self, service: str, name: str, container: str) -> None:
        """Remember a container that was made."""
        with self._lock:
            self._ids[name] = container
            self._services.setdefault(service, []).append(container)

    def drop(self, service: str, container: str) -> None:
        """Forget a container that is gone."""
        with self._lock:
            self._ids = {name: one for name, one in self._ids.items() if one != container}
            known = self._services.get(service, [])
            self._services[service] = [one for one in known if one != container]

    def id_of(self, name: str) -> str:
        """Return a container's id, or its name where it is not known."""
        with self._lock:
            return self._ids.get(name, name)

    def first_of(self, service: str) -> str:
        """Return the id of a container of a service.

        Raises:
            NotFoundError: It has none.
        """
        with self._lock:
            known = self._services.get(service)
        if not known:
            raise NotFoundError(f"service {service} has no container to share with")
        return known[0]

    def set_environment(self, service: str, values: dict[str, str]) -> None:
        """Remember what a provider gives the services that depend on it."""
        with self._lock:
            self._environment[service] = values

    def environment_for(self, service: str) -> dict[str, str]:
        """Return what providers give a service."""
        found: dict[str, str] = {}
        with self._lock:
            for other in self.app.dependencies(service):
                found |= self._environment.get(other, {})
        return found

    def inspect(self, container: str) -> JsonObject:
        """Return everything about a container."""
        with self.pool.client() as client:
            return client.get(f"/containers/{percent_encode(container)}/json").object()

    def name_of(self, record: JsonObject) -> str:
        """Return a container's name from what `inspect` returned."""
        return text(record, "Name").removeprefix("/")
