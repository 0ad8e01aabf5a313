"""Containers made, and made anew in place of others, with an engine.

A replacement is made under a name of its own, so that a failure leaves the old container as it
was; then the old one is stopped and removed, and the name goes over.
"""

import posixpath
from typing import TYPE_CHECKING, Final

from kedge.client.http import EngineClient, is_older, percent_encode
from kedge.compose import events, labels
from kedge.compose.events import Kind
from kedge.compose.hooks import run_hooks
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import RecreateContainer
from kedge.errdefs import ConflictError, KedgeError, NotFoundError
from kedge.lib.fields import items, mapping, objects, text, texts
from kedge.lib.jsontypes import Json, JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedge.compose.createspec import ContainerSpec
    from kedge.compose.mountspec import CopiedFile

_SHORT_ID: Final = 12
# From this version of the API on, a container is made on several networks at once.
_MANY_NETWORKS: Final = "1.44"


def create(stage: Stage, spec: "ContainerSpec") -> None:
    """Make a container.

    Raises:
        ServiceError: The engine refuses.
    """
    stage.report(events.working(Kind.CONTAINER, spec.name, "Creating"))
    with stage.pool.client() as client:
        request = resolved(stage, spec.service, spec.request)
        container = _post(client, stage, spec, spec.name, request)
    stage.add(spec.service, spec.name, container)
    stage.report(events.done(Kind.CONTAINER, spec.name, "Created"))


def made_for_hook(client: EngineClient, stage: Stage, spec: "ContainerSpec") -> str:
    """Make a container of nobody's that runs a hook, and return its id."""
    return _post(client, stage, spec, spec.name, resolved(stage, spec.service, spec.request))


def recreate(stage: Stage, step: RecreateContainer) -> None:
    """Make a container in place of another one."""
    spec, old = step.spec, step.old
    stage.report(events.working(Kind.CONTAINER, spec.name, "Recreate", step.reason))
    with stage.pool.client() as client:
        request = resolved(stage, spec.service, spec.request)
        mapping(request, "Labels")[labels.REPLACE] = old.name
        if step.keep_volumes:
            inherit_volumes(client, request, old.id)
        temporary = f"{old.id[:_SHORT_ID]}_{spec.name}"
        container = _post(client, stage, spec, temporary, request)
        if old.state == "running":
            run_hooks(client, old.id, spec.service, "pre_stop", step.hooks)
        query = {} if step.timeout_s is None else {"t": step.timeout_s}
        _gone_is_fine(client, "POST", f"/containers/{old.id}/stop", query)
        _gone_is_fine(client, "DELETE", f"/containers/{old.id}", {"force": True})
        client.post(f"/containers/{container}/rename", {"name": spec.name}).read()
    stage.drop(spec.service, old.id)
    stage.add(spec.service, spec.name, container)
    stage.report(events.done(Kind.CONTAINER, spec.name, "Recreated", step.reason))


def _gone_is_fine(client: EngineClient, method: str, path: str, query: dict[str, int]) -> None:
    try:
        client.request(method, path, query).read()
    except NotFoundError:
        return
    except ConflictError as error:
        if "already in progress" not in str(error):
            raise


def resolved(stage: Stage, service: str, request: JsonObject) -> JsonObject:
    """Return a request in which containers stand where services stood."""
    host = {**mapping(request, "HostConfig")}
    for field in ("NetworkMode", "IpcMode", "PidMode"):
        mode = text(host, field)
        if mode.startswith("service:"):
            host[field] = f"container:{stage.first_of(mode.removeprefix('service:'))}"
    sources = texts(host, "VolumesFrom")
    if sources:
        host["VolumesFrom"] = [_volumes_from(stage, source) for source in sources]
    found: JsonObject = {**request, "Labels": {**mapping(request, "Labels")}, "HostConfig": host}
    given = stage.environment_for(service)
    if given:
        own = {str(one).partition("=")[0] for one in items(request, "Env")}
        more: list[Json] = [f"{key}={value}" for key, value in given.items() if key not in own]
        found["Env"] = [*items(request, "Env"), *more]
    return found


def _volumes_from(stage: Stage, source: str) -> str:
    if source.startswith("container:"):
        return source.removeprefix("container:")
    service, colon, mode = source.partition(":")
    return f"{stage.first_of(service)}{colon}{mode}"


def _post(
    client: EngineClient, stage: Stage, spec: "ContainerSpec", name: str, request: JsonObject
) -> str:
    query = {"name": name, "platform": spec.platform}
    later: dict[str, JsonObject] = {}
    if is_older(stage.pool.version, _MANY_NETWORKS):
        request, later = _first_network(request)
    try:
        answer = client.post("/containers/create", query, request).object()
    except ConflictError as error:
        mine = _made_meanwhile(client, name, request)
        if not mine:
            raise _refused(spec, error) from None
        return mine
    except KedgeError as error:
        raise _refused(spec, error) from None
    container = text(answer, "Id")
    for warning in texts(answer, "Warnings"):
        stage.report(events.warning(Kind.CONTAINER, spec.name, "Warning", warning))
    try:
        for network, endpoint in later.items():
            body: JsonObject = {"Container": container, "EndpointConfig": endpoint}
            client.post(f"/networks/{percent_encode(network)}/connect", None, body).read()
        copy_in(client, container, spec.files)
    except KedgeError as error:
        client.delete(f"/containers/{container}", {"force": True, "v": True}).read()
        raise _refused(spec, error) from None
    return container


def _first_network(request: JsonObject) -> tuple[JsonObject, dict[str, JsonObject]]:
    """Return a request with one network, and the endpoints that are to be made after it."""
    endpoints = mapping(request, "NetworkingConfig", "EndpointsConfig")
    first = text(request, "HostConfig", "NetworkMode")
    later = {name: mapping(one) for name, one in endpoints.items() if name != first}
    if first not in endpoints or not later:
        return request, {}
    kept: JsonObject = {"EndpointsConfig": {first: endpoints[first]}}
    return {**request, "NetworkingConfig": kept}, later


def _refused(spec: "ContainerSpec", error: KedgeError) -> ServiceError:
    text_ = f"service {spec.service}: cannot create container {spec.name}: {error}"
    return ServiceError(text_, service=spec.service)


def _made_meanwhile(client: EngineClient, name: str, request: JsonObject) -> str:
    """Return a container of this name that another ``up`` made of the same service."""
    try:
        record = client.get(f"/containers/{percent_encode(name)}/json").object()
    except NotFoundError:
        return ""
    wanted, known = mapping(request, "Labels"), mapping(record, "Config", "Labels")
    same = (labels.PROJECT, labels.SERVICE, labels.NUMBER, labels.CONFIG_HASH)
    return text(record, "Id") if all(wanted.get(k) == known.get(k) for k in same) else ""


def inherit_volumes(client: EngineClient, request: JsonObject, old: str) -> None:
    """Mount the anonymous volumes of a container where the new one would get empty ones."""
    record = client.get(f"/containers/{old}/json").object()
    host = mapping(request, "HostConfig")
    mounts = objects(host, "Mounts")
    named = {text(one, "Target") for one in mounts if one.get("Source")}
    named |= {str(bind).split(":")[1] for bind in items(host, "Binds")}
    named |= set(mapping(host, "Tmpfs"))
    nameless = {
        text(one, "Target") for one in mounts
        if not one.get("Source") and text(one, "Type") == "volume"
    }  # fmt: skip
    image = text(record, "Image")
    declared = set(mapping(client.get(f"/images/{image}/json").object(), "Config", "Volumes"))
    inherited: list[Json] = []
    for mount in objects(record, "Mounts"):
        target = posixpath.normpath(text(mount, "Destination"))
        if text(mount, "Type") == "volume" and target in (nameless | declared) - named:
            inherited.append(
                {"Type": "volume", "Source": text(mount, "Name"), "Target": target,
                 "ReadOnly": mount.get("RW") is False}
            )  # fmt: skip
    if inherited:
        targets = {text(one, "Target") for one in inherited}
        kept: list[Json] = [one for one in mounts if text(one, "Target") not in targets]
        host["Mounts"] = [*kept, *inherited]


def copy_in(client: EngineClient, container: str, files: "Iterable[CopiedFile]") -> None:
    """Put files into a container that has not started."""
    wanted = list(files)
    if not wanted:
        return
    import io  # noqa: PLC0415 - rarely needed
    import tarfile  # noqa: PLC0415 - rarely needed

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in wanted:
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.size, member.mode = len(file.content), file.mode
            member.uid, member.gid = file.uid, file.gid
            archive.addfile(member, io.BytesIO(file.content))
    client.request(
        "PUT",
        f"/containers/{container}/archive",
        {"path": "/"},
        body=buffer.getvalue(),
        content_type="application/x-tar",
    ).read()
