"""Which networks and volumes services use, and which are not what the files ask for. Pure."""

from collections.abc import Collection, Mapping

from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.createspec import resource_labels
from kedge.compose.facts import Facts
from kedge.lib.fields import mapping, objects, text


def changed_volumes(app: Application, facts: Facts, services: Collection[str]) -> list[str]:
    """Return the keys of volumes that are there and are not what the files ask for."""
    return [
        key
        for key in used_resources(app, services, "volumes")
        if not app.is_external("volumes", key)
        and (volume := facts.volumes.get(app.resource_name("volumes", key))) is not None
        and differs(app, "volumes", key, volume.labels)
    ]


def differs(app: Application, kind: str, key: str, known: Mapping[str, str]) -> bool:
    """Whether a network or volume was made from another section of the files."""
    # Only kedge's own hash tells: another program's says nothing about what changed.
    mine = resource_labels(app, kind, key)[labels.RESOURCE_HASH]
    return known.get(labels.RESOURCE_HASH, mine) != mine


def used_resources(app: Application, services: Collection[str], kind: str) -> list[str]:
    """Return the keys of the networks or volumes that some services use."""
    found: dict[str, None] = {}
    for name in services:
        service = app.service(name)
        if kind == "networks":
            found |= dict.fromkeys(mapping(service, "networks"))
        else:
            found |= dict.fromkeys(
                text(one, "source")
                for one in objects(service, "volumes")
                if text(one, "type") == "volume" and text(one, "source")
            )
    return list(found)
