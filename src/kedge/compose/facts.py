"""What a plan has to know of the engine: containers, networks, volumes and image ids."""

from collections.abc import Mapping
from typing import NamedTuple

from kedge.client.http import EngineClient
from kedge.compose.application import Application
from kedge.compose.observed import (
    Network,
    Observed,
    Volume,
    list_containers,
    network_of,
    volume_of,
)
from kedge.lib.fields import mapping, objects


class Facts(NamedTuple):
    """What is there."""

    observed: Observed = Observed()
    image_ids: Mapping[str, str] = {}
    """Id of the image of each service, where the engine has it."""
    networks: Mapping[str, Network] = {}
    """Networks by name, if the project names them or not."""
    volumes: Mapping[str, Volume] = {}
    """Volumes by name, likewise."""


def gather(client: EngineClient, app: Application, image_ids: Mapping[str, str]) -> Facts:
    """Return what the engine has that concerns an application."""
    wanted = {app.resource_name("networks", key) for key in mapping(app.model, "networks")}
    containers = list_containers(client, app.name)
    networks = [network_of(one) for one in client.get("/networks").objects()]
    volumes = [volume_of(one) for one in objects(client.get("/volumes").object(), "Volumes")]
    observed = Observed(
        tuple(containers),
        tuple(one for one in networks if one.project == app.name),
        tuple(one for one in volumes if one.project == app.name),
    )
    return Facts(
        observed,
        image_ids,
        {one.name: one for one in networks if one.name in wanted},
        {one.name: one for one in volumes},
    )
