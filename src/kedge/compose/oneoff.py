"""``compose run``: one more container of a service, for one command. Pure.

It has the service's image, networks and mounts, but not its ports, restart policy, name or number;
labels mark it, so that ``up`` and ``ps`` leave it alone.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kedge import __version__
from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.createspec import ContainerSpec, request_of, service_labels
from kedge.compose.fingerprint import format_parts, parts_of, service_hash
from kedge.compose.ports import parse_port
from kedge.compose.presentation import presented
from kedge.compose.volumespec import parse_volume
from kedge.lib.fields import items, mapping, text
from kedge.lib.jsontypes import Json, JsonObject


class RunWishes(NamedTuple):
    """What the command line asks for."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = {}
    labels: Mapping[str, str] = {}
    name: str = ""
    user: str = ""
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    service_ports: bool = False
    use_aliases: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    tty: bool = False
    stdin: bool = True
    remove: bool = False
    detach: bool = False


def run_application(app: Application, service_name: str, wishes: RunWishes) -> Application:
    """Return the application with one service changed to what the command line asks for."""
    service = _bare(app.service(service_name), keep_ports=wishes.service_ports)
    published: list[Json] = [port for given in wishes.ports for port in parse_port(given)]
    mounted: list[Json] = [parse_volume(given) for given in wishes.volumes]
    for key, added in (
        ("ports", published),
        ("volumes", mounted),
        ("cap_add", [*wishes.cap_add]),
        ("cap_drop", [*wishes.cap_drop]),
    ):
        if added:
            service[key] = [*items(service, key), *added]
    if wishes.entrypoint is not None:
        service |= {"entrypoint": [*wishes.entrypoint], "command": []}
    if wishes.command:
        service["command"] = [*wishes.command]
    service["environment"] = {**mapping(service, "environment"), **wishes.environment}
    service["labels"] = {**mapping(service, "labels"), **wishes.labels}
    service |= {"tty": wishes.tty, "stdin_open": wishes.stdin}
    for key, text_ in (("user", wishes.user), ("working_dir", wishes.working_dir)):
        if text_:
            service[key] = text_
    model: JsonObject = {**app.model, "services": {**app.services, service_name: service}}
    return app._replace(model=presented(model))


def _bare(service: JsonObject, *, keep_ports: bool) -> JsonObject:
    """Return a service without what only its own containers have."""
    gone = {"container_name", "restart", "scale", *(() if keep_ports else ("ports",))}
    found: JsonObject = {key: one for key, one in service.items() if key not in gone}
    if "deploy" in found:
        found["deploy"] = {
            key: one
            for key, one in mapping(found, "deploy").items()
            if key not in {"replicas", "restart_policy"}
        }
    return found


def oneoff_spec(
    app: Application, service_name: str, wishes: RunWishes, *, slug: str, image_id: str
) -> ContainerSpec:
    """Return what the container is made from.

    Args:
        app: What `run_application` returned.
        service_name: The service.
        wishes: What the command line asks for.
        slug: 64 hexadecimal digits nobody else has.
        image_id: Id of the service's image.
    """
    service = app.service(service_name)
    name = wishes.name or app.separator.join((app.name, service_name, "run", slug[:12]))
    own = service_labels(app, service_name, image_id) | {
        labels.ONEOFF: "True",
        labels.SLUG: slug,
        labels.VERSION: __version__,
        labels.CONFIG_HASH: service_hash(service),
        labels.CONFIG_PARTS: format_parts(parts_of(service)),
    }
    aliases = [name, service_name] if wishes.use_aliases else [name]
    request, files = request_of(app, service_name, aliases, own)
    if not wishes.use_aliases:
        for endpoint in mapping(request, "NetworkingConfig", "EndpointsConfig").values():
            mapping(endpoint)["Aliases"] = [name]
    request |= {
        "AttachStdin": wishes.stdin and not wishes.detach,
        "StdinOnce": wishes.stdin and not wishes.detach,
    }
    host = mapping(request, "HostConfig")
    if wishes.remove:
        host["AutoRemove"] = True
    return ContainerSpec(name, service_name, 0, request, files, text(service, "platform"))
