"""What an engine has of a project, found by labels alone, as typed data."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from kedge.client.http import EngineClient
from kedge.compose import labels
from kedge.lib.fields import mapping, number, objects, text
from kedge.lib.jsontypes import JsonObject

_HEALTH: Final = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_EXIT: Final = re.compile(r"\AExited \((-?\d+)\)")


class Container(NamedTuple):
    """A container of a project."""

    id: str
    name: str
    project: str
    service: str
    number: int
    """Which one of its service; 0 for one that ``run`` made."""
    oneoff: bool
    state: str
    """``created``, ``running``, ``paused``, ``restarting``, ``exited`` or ``dead``."""
    status: str
    """The same for people: ``Up 5 minutes (healthy)``."""
    health: str
    """``healthy``, ``unhealthy``, ``starting``, or empty."""
    exit_code: int
    created_s: int
    image: str
    image_id: str
    labels: Mapping[str, str]
    networks: Mapping[str, str]
    """Ids of the networks it is on, by name."""
    mounts: tuple[JsonObject, ...]
    record: JsonObject
    """Everything ``GET /containers/json`` says."""

    @property
    def config_hash(self) -> str:
        """Hash of the service it was made from."""
        return self.labels.get(labels.CONFIG_HASH, "")

    @property
    def is_running(self) -> bool:
        """Whether it has a process."""
        return self.state in {"running", "paused", "restarting"}

    def depends_on(self) -> dict[str, tuple[str, bool]]:
        """Return condition and ``restart`` by service, from its label."""
        found: dict[str, tuple[str, bool]] = {}
        for entry in self.labels.get(labels.DEPENDS_ON, "").split(","):
            if entry:
                service, condition, restart = (*entry.split(":"), "", "")[:3]
                found[service] = (condition or "service_started", restart == "true")
        return found


class Network(NamedTuple):
    """A network."""

    id: str
    name: str
    key: str
    """What the Compose file calls it; empty for one of nobody's."""
    project: str
    labels: Mapping[str, str]


class Volume(NamedTuple):
    """A volume."""

    name: str
    key: str
    project: str
    labels: Mapping[str, str]


class Observed(NamedTuple):
    """Everything of a project."""

    containers: tuple[Container, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()

    def of_service(self, service: str) -> list[Container]:
        """Return the containers of a service, by number; not those ``run`` made."""
        found = [one for one in self.containers if one.service == service and not one.oneoff]
        return sorted(found, key=lambda one: (one.number, one.name))

    def services(self) -> list[str]:
        """Return the services that have containers, sorted."""
        return sorted({one.service for one in self.containers if not one.oneoff})


def observe(client: EngineClient, project: str) -> Observed:
    """Return what the engine has of ``project``."""
    return Observed(
        tuple(list_containers(client, project)),
        tuple(list_networks(client, labels.project_filter(project))),
        tuple(list_volumes(client, labels.project_filter(project))),
    )


def list_containers(
    client: EngineClient, project: str = "", *, more: Iterable[str] = ()
) -> list[Container]:
    """Return the containers of a project, or of all projects, whatever their state."""
    wanted = labels.project_filter(project) if project else [labels.PROJECT]
    filters = json.dumps({"label": [*wanted, *more]})
    found = client.get("/containers/json", {"all": True, "filters": filters}).objects()
    # What stands between creation and its first label, such as a hook's container, is not listed.
    return [_container(one) for one in found if text(one, "Labels", labels.HOOK) == ""]


def list_networks(client: EngineClient, label: list[str]) -> list[Network]:
    """Return the networks with these labels."""
    found = client.get("/networks", {"filters": json.dumps({"label": label})}).objects()
    return [network_of(one) for one in found]


def network_of(record: JsonObject) -> Network:
    """Return a network from what the engine says about it."""
    known = _texts(mapping(record, "Labels"))
    key, project = known.get(labels.NETWORK, ""), known.get(labels.PROJECT, "")
    return Network(text(record, "Id"), text(record, "Name"), key, project, known)


def list_volumes(client: EngineClient, label: list[str]) -> list[Volume]:
    """Return the volumes with these labels."""
    answer = client.get("/volumes", {"filters": json.dumps({"label": label})}).object()
    return [volume_of(one) for one in objects(answer, "Volumes")]


def volume_of(record: JsonObject) -> Volume:
    """Return a volume from what the engine says about it."""
    known = _texts(mapping(record, "Labels"))
    key, project = known.get(labels.VOLUME, ""), known.get(labels.PROJECT, "")
    return Volume(text(record, "Name"), key, project, known)


def _container(record: JsonObject) -> Container:
    known = _texts(mapping(record, "Labels"))
    names = record.get("Names")
    first = str(names[0]) if isinstance(names, list) and names else ""
    status = text(record, "Status")
    health, code = _HEALTH.search(status), _EXIT.match(status)
    position = known.get(labels.NUMBER, "")
    return Container(
        id=text(record, "Id"),
        name=first.removeprefix("/"),
        project=known.get(labels.PROJECT, ""),
        service=known.get(labels.SERVICE, ""),
        number=int(position) if position.isdigit() else 0,
        oneoff=known.get(labels.ONEOFF) == "True",
        state=text(record, "State"),
        status=status,
        health=health[1] if health else "",
        exit_code=int(code[1]) if code else 0,
        created_s=number(record, "Created"),
        image=text(record, "Image"),
        image_id=text(record, "ImageID"),
        labels=known,
        networks={
            name: text(endpoint, "NetworkID")
            for name, endpoint in mapping(record, "NetworkSettings", "Networks").items()
        },
        mounts=tuple(objects(record, "Mounts")),
        record=record,
    )


def _texts(found: JsonObject) -> dict[str, str]:
    return {key: str(value) for key, value in found.items()}
