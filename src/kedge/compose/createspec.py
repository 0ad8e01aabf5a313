"""A container of a service as the whole create request. Pure.

``service:x`` in a mode and services in ``VolumesFrom`` are left for whoever knows the containers
(`kedge.compose.perform`).
"""

from typing import Final, NamedTuple

from kedge import __version__
from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.containerconfig import (
    command_words,
    container_config,
    environment_list,
    hook_environment,
    truth,
)
from kedge.compose.endpoints import networking
from kedge.compose.fingerprint import format_parts, parts_of, service_hash
from kedge.compose.hostconfig import host_config
from kedge.compose.mountspec import CopiedFile, mounts
from kedge.errdefs import NotSupportedError
from kedge.lib.fields import items, mapping, objects, text, texts
from kedge.lib.jsontypes import JsonObject

_SOCKET: Final = "/var/run/docker.sock"


class ContainerSpec(NamedTuple):
    """What a container is made from."""

    name: str
    service: str
    number: int
    request: JsonObject
    """Body of ``POST /containers/create``."""
    files: tuple[CopiedFile, ...] = ()
    platform: str = ""


def container_spec(
    app: Application, service_name: str, number: int, image_id: str
) -> ContainerSpec:
    """Return what the ``number``-th container of a service is made from.

    Raises:
        KedgeError: An attribute that this host or engine cannot give.
    """
    service = app.service(service_name)
    name = app.container_name(service_name, number)
    own = service_labels(app, service_name, image_id) | {
        labels.ONEOFF: "False",
        labels.NUMBER: str(number),
        labels.CONFIG_HASH: service_hash(service),
        labels.CONFIG_PARTS: format_parts(parts_of(service)),
    }
    request, files = request_of(app, service_name, [name, service_name], own)
    return ContainerSpec(name, service_name, number, request, files, text(service, "platform"))


def service_labels(app: Application, service_name: str, image_id: str) -> dict[str, str]:
    """Return the labels every container of a service has, the user's own among them."""
    service = app.service(service_name)
    found = {key: str(value) for key, value in mapping(service, "labels").items()}
    found |= {
        labels.PROJECT: app.name,
        labels.SERVICE: service_name,
        labels.VERSION: __version__,
        labels.WORKING_DIR: app.directory,
        labels.CONFIG_FILES: ",".join(app.files),
        labels.IMAGE: image_id,
        labels.DEPENDS_ON: ",".join(
            f"{other}:{text(how, 'condition')}:{str(mapping(how).get('restart') is True).lower()}"
            for other, how in mapping(service, "depends_on").items()
        ),
    }
    if app.env_files:
        found[labels.ENVIRONMENT_FILE] = ",".join(app.env_files)
    return found


def request_of(
    app: Application, service_name: str, aliases: list[str], own_labels: dict[str, str]
) -> tuple[JsonObject, tuple[CopiedFile, ...]]:
    """Return a create request with these aliases and labels, and the files to copy in."""
    service = app.service(service_name)
    request = container_config(service, app.image(service_name), own_labels)
    host = host_config(service)
    mounted = mounts(service, app.model, app.env)
    host |= mounted.host_config
    if service.get("use_api_socket") is True:
        host["Binds"] = [*texts(host, "Binds"), f"{_SOCKET}:{_SOCKET}:rw"]
    sources = texts(service, "volumes_from")
    if sources:
        host["VolumesFrom"] = [*sources]
    mode, endpoints = networking(service, app.model, aliases, _links(app, service))
    host["NetworkMode"] = mode
    request["HostConfig"] = host
    if endpoints:
        request["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return request, mounted.files


def _links(app: Application, service: JsonObject) -> list[str]:
    found: list[str] = []
    for link in texts(service, "links"):
        other, _, alias = link.partition(":")
        container = app.container_name(other, 1)
        short = f"{other}{app.separator}1"
        found += [f"{container}:{name}" for name in dict.fromkeys([alias or other, short])]
    for link in texts(service, "external_links"):
        container, _, alias = link.partition(":")
        found.append(f"{container}:{alias or container}")
    return found


def pre_start_specs(app: Application, service_name: str) -> tuple[ContainerSpec, ...]:
    """Return the containers that run a service's ``pre_start``, in order.

    Raises:
        NotSupportedError: ``per_replica``, which nobody has yet.
    """
    found: list[ContainerSpec] = []
    for index, hook in enumerate(objects(app.service(service_name), "pre_start")):
        if truth(hook.get("per_replica")):
            raise NotSupportedError(f"service {service_name}: pre_start: per_replica must be false")
        own = {
            labels.PROJECT: app.name,
            labels.SERVICE: service_name,
            labels.VERSION: __version__,
            labels.HOOK: "pre_start",
        }
        request, files = request_of(app, service_name, [], own)
        request = _hook_request(request, hook)
        name = app.separator.join((app.name, service_name, "pre_start", str(index + 1)))
        platform = text(app.service(service_name), "platform")
        found.append(ContainerSpec(name, service_name, 0, request, files, platform))
    return tuple(found)


def _hook_request(request: JsonObject, hook: JsonObject) -> JsonObject:
    words = command_words(hook)
    gone = ("Entrypoint", "ExposedPorts", "Healthcheck", "Hostname")
    found: JsonObject = {key: one for key, one in request.items() if key not in gone}
    host = {**mapping(request, "HostConfig")}
    host["RestartPolicy"] = {"Name": "no"}
    host.pop("PortBindings", None)
    if "privileged" in hook:
        host["Privileged"] = truth(hook["privileged"])
    # What it runs is the program itself, not a word for the image's own.
    found |= {"HostConfig": host, "Entrypoint": [*words[:1]], "Cmd": [*words[1:]]}
    for name, field in (("image", "Image"), ("user", "User"), ("working_dir", "WorkingDir")):
        if hook.get(name):
            found[field] = text(hook, name)
    environment = hook_environment(hook)
    if environment:
        found["Env"] = [*items(request, "Env"), *environment_list(environment)]
    return found


def volume_request(app: Application, key: str) -> JsonObject:
    """Return the body of ``POST /volumes/create``."""
    volume = mapping(app.model, "volumes", key)
    return {
        "Name": app.resource_name("volumes", key),
        "Driver": text(volume, "driver") or "local",
        "DriverOpts": {k: str(v) for k, v in mapping(volume, "driver_opts").items()},
        "Labels": {**resource_labels(app, "volumes", key)},
    }


def resource_labels(app: Application, kind: str, key: str) -> dict[str, str]:
    """Return the labels of a network or volume, the user's own among them."""
    resource = mapping(app.model, kind, key)
    return {name: str(value) for name, value in mapping(resource, "labels").items()} | {
        labels.NETWORK if kind == "networks" else labels.VOLUME: key,
        labels.PROJECT: app.name,
        labels.VERSION: __version__,
        labels.RESOURCE_HASH: service_hash(resource),
    }
