"""Faults that only show when a whole model is looked at: references, cycles, contradictions. Pure.

Works on a canonical model; the texts are the reference implementation's.
"""

from collections.abc import Collection
from typing import Final

from kedge.compose.canonical import items, section
from kedge.compose.failures import ModelError, Path
from kedge.compose.values import parse_bytes
from kedge.lib.jsontypes import Json, JsonObject

_LIMITS: Final = (
    ("cpus", "limits", "cpus"),
    ("mem_limit", "limits", "memory"),
    ("mem_reservation", "reservations", "memory"),
    ("pids_limit", "limits", "pids"),
)


def check_values(model: JsonObject) -> None:
    """Refuse what no service could be made of, whether or not it is used.

    Raises:
        ModelError: With the path of the fault.
    """
    for name, volume in section(model, "volumes").items():
        if isinstance(volume, dict) and volume.get("external") is True:
            for key in volume:
                if key not in {"name", "external"} and not key.startswith("x-"):
                    text = f'conflicting parameters "external" and "{key}" specified'
                    raise ModelError(("volumes", name, key), f"volumes.{name}: {text}")
    for kind, keys in (
        ("configs", ("file", "environment", "content")),
        ("secrets", ("file", "environment")),
    ):
        for name, value in section(model, kind).items():
            _check_source(value, (kind, name), keys)
    for name, service in section(model, "services").items():
        if isinstance(service, dict):
            _check_service_values(service, ("services", name))


def _check_source(value: Json, path: Path, keys: Collection[str]) -> None:
    given = [key for key in keys if isinstance(value, dict) and key in value]
    where, names = ".".join(str(part) for part in path), "|".join(keys)
    if len(given) > 1:
        raise ModelError(path, f"{where}: {names} attributes are mutually exclusive")
    free = isinstance(value, dict) and ("driver" in value or "external" in value)
    if not given and not free:
        raise ModelError(path, f"{where}: one of {names} must be set")


def _check_service_values(service: JsonObject, path: Path) -> None:
    where = ".".join(str(part) for part in path)
    resources = section(section(service, "deploy"), "resources")
    requests = items(section(resources, "reservations").get("devices"))
    for request in [*requests, *items(service.get("gpus"))]:
        if isinstance(request, dict):
            _check_device_request(request, path, where)
    for port in items(service.get("ports")):
        address = port.get("host_ip") if isinstance(port, dict) else None
        if address is not None and not _is_address(str(address)):
            raise ModelError((*path, "ports"), f"{where}.ports: invalid ip address: {address}")
    for index, volume in enumerate(items(service.get("volumes"))):
        if not isinstance(volume, dict):
            continue
        if volume.get("type") == "bind" and not volume.get("source"):
            text = 'invalid mount config for type "bind": field Source must not be empty'
            raise ModelError((*path, "volumes", index), text)
        size = section(volume, "tmpfs").get("size")
        if isinstance(size, (int, float)) and size < 0:
            text = f"{where}.volumes.{index}.tmpfs.size must be greater than or equal to 0"
            raise ModelError((*path, "volumes", index), text)


def _check_device_request(request: JsonObject, path: Path, where: str) -> None:
    count = request.get("count")
    if count is not None and "device_ids" in request:
        raise ModelError(path, f'{where}: "count" and "device_ids" attributes are exclusive')
    if isinstance(count, str) and count != "all" and not count.lstrip("-").isdigit():
        text = f"invalid value \"{count}\", the only value allowed is 'all' or a number"
        raise ModelError(path, f"{where}: {text}")


def _is_address(text: str) -> bool:
    import ipaddress  # noqa: PLC0415 - few services name one

    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def check_consistency(model: JsonObject, disabled: Collection[str] = ()) -> None:
    """Refuse a model whose parts do not fit; ``disabled`` services are off by their profiles.

    Raises:
        ModelError: With the path of the fault.
    """
    services = section(model, "services")
    for name, value in services.items():
        service = value if isinstance(value, dict) else {}
        path: Path = ("services", name)
        _check_source_of_image(name, service, services, path)
        _check_networks(name, service, model, path)
        _check_references(name, service, model, path)
        _check_dependencies(name, service, services, disabled)
        _check_numbers(name, service, path)
        _check_rest(name, service, path)
        _check_targets(name, service, path)
    for name, secret in section(model, "secrets").items():
        fields = secret if isinstance(secret, dict) else {}
        if not (fields.get("external") or fields.get("file") or fields.get("environment")):
            text = f'secret "{name}" must declare either `file` or `environment`'
            raise _fault(("secrets", name), text)
    _check_cycles(services)


def _fault(path: Path, text: str) -> ModelError:
    return ModelError(path, f"{text}: invalid compose project")


def _check_source_of_image(
    name: str, service: JsonObject, services: JsonObject, path: Path
) -> None:
    if not any(service.get(key) is not None for key in ("build", "image", "provider")):
        raise _fault(path, f'service "{name}" has neither an image nor a build context specified')
    build = section(service, "build")
    if build.get("dockerfile_inline") and build.get("dockerfile"):
        text = f'service "{name}" declares mutually exclusive dockerfile and dockerfile_inline'
        raise _fault((*path, "build"), text)
    contexts = build.get("additional_contexts")
    values = contexts.values() if isinstance(contexts, dict) else items(contexts)
    for context in values:
        target = str(context).rpartition("=")[2]
        if target.startswith("service:"):
            other = services.get(target.removeprefix("service:"))
            if not isinstance(other, dict) or "build" not in other:
                text = f'service "{name}" declares unknown or non-buildable {target} as context'
                raise _fault((*path, "build", "additional_contexts"), text)
    platform, platforms = service.get("platform"), items(build.get("platforms"))
    if platform and platforms and platform not in platforms:
        text = f'service.build.platforms MUST include service.platform "{platform}"'
        raise _fault((*path, "platform"), text)


def _check_networks(name: str, service: JsonObject, model: JsonObject, path: Path) -> None:
    mode, networks = service.get("network_mode"), section(service, "networks")
    if mode and networks:
        text = f"service {name} declares mutually exclusive `network_mode` and `networks`"
        raise _fault((*path, "network_mode"), text)
    for network in networks:
        if network not in section(model, "networks"):
            text = f'service "{name}" refers to undefined network {network}'
            raise _fault((*path, "networks", network), text)
    target = str(mode or "").removeprefix("service:")
    if str(mode or "").startswith("service:") and target not in section(model, "services"):
        text = f"service \"{target}\" not found for network_mode 'service:{target}'"
        raise ModelError((*path, "network_mode"), text)


def _check_references(name: str, service: JsonObject, model: JsonObject, path: Path) -> None:
    wanted: list[tuple[str, str, Json]] = []
    mounts = [one for one in items(service.get("volumes")) if isinstance(one, dict)]
    wanted += [
        ("volumes", "volume", mount["source"])
        for mount in mounts
        if mount.get("type") == "volume" and mount.get("source")
    ]
    for kind, word, listed in (
        ("configs", "config", service.get("configs")),
        ("secrets", "secret", service.get("secrets")),
        ("secrets", "build secret", section(service, "build").get("secrets")),
    ):
        wanted += [
            (kind, word, one.get("source")) for one in items(listed) if isinstance(one, dict)
        ]
    wanted += [("models", "model", model_name) for model_name in section(service, "models")]
    for kind, word, source in wanted:
        if source not in section(model, kind):
            where = (*path, "build" if word == "build secret" else kind)
            raise _fault(where, f'service "{name}" refers to undefined {word} {source}')


def _check_dependencies(
    name: str, service: JsonObject, services: JsonObject, disabled: Collection[str]
) -> None:
    for other, setting in section(service, "depends_on").items():
        required = not isinstance(setting, dict) or setting.get("required", True)
        if other not in services and (required or other not in disabled):
            text = f'service "{name}" depends on undefined service "{other}"'
            raise _fault(("services", name, "depends_on", other), text)


def _number(value: Json) -> float | None:
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


def _check_numbers(name: str, service: JsonObject, path: Path) -> None:
    deploy = section(service, "deploy")
    scale, replicas = _number(service.get("scale")), _number(deploy.get("replicas"))
    where = f"services.{name}"
    if scale is not None and replicas is not None and scale != replicas:
        text = f"{where}: can't set distinct values on 'scale' and 'deploy.replicas'"
        raise _fault((*path, "scale"), text)
    for value, key in ((scale, "scale"), (replicas, "deploy.replicas")):
        if value is not None and value < 0:
            raise ModelError(
                (*path, *key.split(".")), f"{where}.{key}: must be greater than or equal to 0"
            )
        if value is not None and value > 1 and service.get("container_name"):
            text = f"{where}: can't set container_name and {key} as container name must be unique"
            raise _fault((*path, "container_name"), text)
    resources = section(deploy, "resources")
    for key, group, limit in _LIMITS:
        theirs = section(resources, group).get(limit)
        ours = service.get(key)
        if ours is None or theirs is None:
            continue
        same = (
            parse_bytes(ours) == parse_bytes(theirs)
            if limit == "memory"
            else _number(ours) == _number(theirs)
        )
        if not same:
            text = f"'{key}' and 'deploy.resources.{group}.{limit}'"
            raise _fault((*path, key), f"{where}: can't set distinct values on {text}")


def _check_rest(name: str, service: JsonObject, path: Path) -> None:
    test = section(service, "healthcheck").get("test")
    if isinstance(test, list) and test and test[0] not in {"CMD", "CMD-SHELL", "NONE"}:
        text = 'healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"'
        raise ModelError((*path, "healthcheck", "test"), text)
    for watch in items(section(service, "develop").get("watch")):
        free = not isinstance(watch, dict) or watch.get("action") in {"rebuild", "restart"}
        if isinstance(watch, dict) and not free and not watch.get("target"):
            text = f"services.{name}.develop.watch: target is required for non-rebuild actions"
            raise _fault((*path, "develop", "watch"), text)


def _check_targets(name: str, service: JsonObject, path: Path) -> None:
    mounted: dict[str, str] = {}
    for kind in ("tmpfs", "volumes"):
        for index, entry in enumerate(items(service.get(kind))):
            text = entry.get("target") if isinstance(entry, dict) else str(entry).partition(":")[0]
            target, place = str(text), f"services.{name}.{kind}[{index}]"
            if target in mounted:
                fault = f"{place}: target {target} already mounted as {mounted[target]}"
                raise ModelError((*path, kind, index), fault)
            mounted[target] = place


def _check_cycles(services: JsonObject) -> None:
    done: set[str] = set()
    for start in services:
        # An explicit stack: a chain may be longer than Python's own.
        trail: list[str] = []
        pending: list[tuple[str, int]] = [(start, 0)]
        while pending:
            name, depth = pending.pop()
            if name in done and depth:
                continue
            done.update(trail[depth:])
            del trail[depth:]
            if name in trail:
                loop = " -> ".join([*trail[trail.index(name) :], name])
                path: Path = ("services", trail[-1], "depends_on", name)
                raise ModelError(path, f"dependency cycle detected: {loop}")
            if name in done:
                continue
            trail.append(name)
            service = services.get(name)
            others = section(service, "depends_on") if isinstance(service, dict) else {}
            pending += [(other, depth + 1) for other in reversed(others)]
        done.update(trail)
