"""Networks, volumes and images made and removed."""

from kedge.client.http import EngineClient, percent_encode
from kedge.compose import events
from kedge.compose.events import Kind
from kedge.compose.stage import Stage
from kedge.compose.steps import (
    CreateNetwork,
    CreateVolume,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
)
from kedge.errdefs import ConflictError, ForbiddenError, NotFoundError
from kedge.lib.fields import mapping, text
from kedge.lib.jsontypes import JsonObject


def create_network(stage: Stage, step: CreateNetwork) -> None:
    """Make a network; containers of the one it replaces are on it afterwards."""
    stage.report(events.working(Kind.NETWORK, step.name, "Creating", step.reason))
    with stage.pool.client() as client:
        moved = _take_off(client, step.replaces) if step.replaces else {}
        if step.replaces:
            client.delete(f"/networks/{step.replaces}").read()
        try:
            client.post("/networks/create", None, step.request).read()
        except ConflictError as error:
            # Another ``up`` of this project was faster.
            if "already exists" not in str(error):
                raise
        for container, endpoint in moved.items():
            body: JsonObject = {"Container": container, "EndpointConfig": endpoint}
            client.post(f"/networks/{percent_encode(step.name)}/connect", None, body).read()
    stage.report(events.done(Kind.NETWORK, step.name, "Created"))


def _take_off(client: EngineClient, network: str) -> dict[str, JsonObject]:
    """Disconnect every container of a network and return how each was connected."""
    record = client.get(f"/networks/{network}").object()
    found: dict[str, JsonObject] = {}
    for container in mapping(record, "Containers"):
        try:
            known = client.get(f"/containers/{container}/json").object()
        except NotFoundError:
            continue
        for endpoint in mapping(known, "NetworkSettings", "Networks").values():
            if text(endpoint, "NetworkID") == network:
                kept = ("Aliases", "DriverOpts", "Links")
                found[container] = {key: mapping(endpoint)[key] for key in kept
                                    if mapping(endpoint).get(key)}  # fmt: skip
        body: JsonObject = {"Container": container, "Force": True}
        client.post(f"/networks/{network}/disconnect", None, body).read()
    return found


def create_volume(stage: Stage, step: CreateVolume) -> None:
    """Make a volume."""
    stage.report(events.working(Kind.VOLUME, step.name, "Creating", step.reason))
    with stage.pool.client() as client:
        if step.replaces:
            client.delete(f"/volumes/{percent_encode(step.name)}").read()
        client.post("/volumes/create", None, step.request).read()
    stage.report(events.done(Kind.VOLUME, step.name, "Created"))


def remove_network(stage: Stage, step: RemoveNetwork) -> None:
    """Remove a network; one in use by somebody else stays, which is said."""
    stage.report(events.working(Kind.NETWORK, step.name, "Removing"))
    try:
        with stage.pool.client() as client:
            client.delete(f"/networks/{percent_encode(step.network)}").read()
    except NotFoundError:
        pass
    except (ConflictError, ForbiddenError) as error:
        if "active endpoints" not in str(error):
            raise
        stage.report(events.warning(Kind.NETWORK, step.name, "Resource is still in use"))
        return
    stage.report(events.done(Kind.NETWORK, step.name, "Removed"))


def remove_volume(stage: Stage, step: RemoveVolume) -> None:
    """Remove a volume; one in use by somebody else stays, which is said."""
    stage.report(events.working(Kind.VOLUME, step.name, "Removing"))
    try:
        with stage.pool.client() as client:
            client.delete(f"/volumes/{percent_encode(step.name)}").read()
    except NotFoundError:
        pass
    except ConflictError:
        stage.report(events.warning(Kind.VOLUME, step.name, "Resource is still in use"))
        return
    stage.report(events.done(Kind.VOLUME, step.name, "Removed"))


def remove_image(stage: Stage, step: RemoveImage) -> None:
    """Remove an image; one in use by somebody else stays, which is said."""
    stage.report(events.working(Kind.IMAGE, step.image, "Removing"))
    try:
        with stage.pool.client() as client:
            client.delete(f"/images/{percent_encode(step.image, keep='/:@')}").read()
    except NotFoundError:
        stage.report(events.warning(Kind.IMAGE, step.image, "No such image"))
        return
    except ConflictError:
        stage.report(events.warning(Kind.IMAGE, step.image, "Resource is still in use"))
        return
    stage.report(events.done(Kind.IMAGE, step.image, "Removed"))
