"""Applications from text and states of an engine made by hand, for tests of plans."""

from typing import TYPE_CHECKING

from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.createspec import container_spec, resource_labels
from kedge.compose.facts import Facts
from kedge.compose.loading import File, Settings, load_model
from kedge.compose.observed import Container, Network, Observed, Volume
from kedge.compose.presentation import presented
from kedge.compose.project import pruned
from kedge.compose.steps import Plan, Step
from kedge.lib.fields import mapping, objects, text

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject


def application(source: str, **environ: str) -> Application:
    """Return the application ``app`` that a file in ``/p`` describes."""

    def read(path: str) -> str:
        raise FileNotFoundError(2, "no such file", path)

    settings = Settings(read=read, directory="/p", env=environ, name="app")
    loaded = load_model([File("compose.yaml", source)], settings)
    model = presented(pruned(loaded.model))
    disabled = frozenset(loaded.disabled)
    return Application("app", model, environ, "/p", ("/p/compose.yaml",), disabled=disabled)


def running(
    app: Application,
    service: str,
    number: int = 1,
    *,
    state: str = "running",
    image_id: str = "sha256:i",
    container_id: str = "",
) -> Container:
    """Return the container ``up`` would have made of a service as it is now."""
    spec = container_spec(app, service, number, image_id)
    known = {k: str(v) for k, v in mapping(spec.request, "Labels").items()}
    mounts: list[JsonObject] = [
        {"Type": "volume", "Name": text(one, "Source"), "Destination": text(one, "Target")}
        for one in objects(spec.request, "HostConfig", "Mounts")
    ]
    networks = mapping(spec.request, "NetworkingConfig", "EndpointsConfig")
    record: JsonObject = {"HostConfig": {"NetworkMode": "app_default"}}
    return Container(
        id=container_id or f"id-{spec.name}", name=spec.name, project="app", service=service,
        number=number, oneoff=False, state=state, status="", health="", exit_code=0, created_s=0,
        image=app.image(service), image_id=image_id, labels=known,
        networks={name: f"id-{name}" for name in networks}, mounts=tuple(mounts), record=record,
    )  # fmt: skip


def facts(app: Application, *containers: Container) -> Facts:
    """Return an engine that has these containers and everything else the application asks for."""
    networks = {
        app.resource_name("networks", key): Network(
            f"id-{app.resource_name('networks', key)}", app.resource_name("networks", key), key,
            "app", resource_labels(app, "networks", key),
        )
        for key in mapping(app.model, "networks")
    }  # fmt: skip
    volumes = {
        app.resource_name("volumes", key): Volume(
            app.resource_name("volumes", key), key, "app", resource_labels(app, "volumes", key)
        )
        for key in mapping(app.model, "volumes")
    }
    images = dict.fromkeys(app.services, "sha256:i")
    observed = Observed(tuple(containers), tuple(networks.values()), tuple(volumes.values()))
    return Facts(observed, images, networks, volumes)


def keys(plan: Plan) -> list[str]:
    """Return the keys of the steps."""
    return [step.key for step in plan.steps]


def step(plan: Plan, key: str) -> Step:
    """Return one step."""
    found = {one.key: one for one in plan.steps}
    assert key in found, sorted(found)
    return found[key]


def relabelled(container: Container, **changes: str) -> Container:
    """Return a container with other values of Compose's labels, by the constants' names."""
    changed = {str(getattr(labels, name)): value for name, value in changes.items()}
    return container._replace(labels={**container.labels, **changed})
