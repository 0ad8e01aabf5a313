"""Short forms to long forms, and the defaults of the long ones. Pure.

Works on a model whose shapes were checked (`kedge.compose.shapes`), service by service.
"""

import posixpath
from collections.abc import Callable
from typing import Final

from kedge.compose.failures import ModelError, Path
from kedge.compose.ports import expand_ports, with_port_defaults
from kedge.compose.volumespec import parse_volume
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

Change = Callable[[Json], Json]


def section(model: JsonObject, name: str) -> JsonObject:
    """Return a mapping of the model, empty where there is none."""
    value = model.get(name)
    return value if isinstance(value, dict) else {}


def items(value: Json) -> list[Json]:
    """Return a list, or a list with the one value, or nothing."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def canonical(model: JsonObject, *, lenient: bool = False) -> JsonObject:
    """Return the model in long forms; ``lenient`` leaves texts that hold variables.

    Raises:
        ModelError: A short form is malformed.
    """
    result = {**model}
    services: JsonObject = {}
    for name, service in section(model, "services").items():
        if not isinstance(service, dict):
            raise ModelError(("services", name), f"services.{name} must be a mapping")
        services[name] = _service(service, ("services", name), lenient)
    if "services" in model:
        result["services"] = services
    for kind in ("networks", "volumes", "secrets", "configs"):
        if isinstance(model.get(kind), dict):
            result[kind] = {
                key: _external(value, (kind, key)) for key, value in section(model, kind).items()
            }
    return result


def _service(service: JsonObject, path: Path, lenient: bool) -> JsonObject:  # noqa: FBT001 - passed on
    result = {**service}

    def ports(value: Json) -> Json:
        return expand_ports(items(value), lenient=lenient)

    for key, change in {**_CHANGES, "ports": ports}.items():
        if result.get(key) is None:
            continue
        try:
            result[key] = change(result[key])
        except ModelError:
            raise
        except InvalidParameterError as error:
            if not lenient:
                where = ".".join(str(part) for part in (*path, key))
                raise ModelError((*path, key), f"{where}: {error}") from None
    return result


def _external(value: Json, path: Path) -> Json:
    if not isinstance(value, dict) or not isinstance(value.get("external"), dict):
        return value
    inner = section(value, "external")
    if "name" in inner and value.get("name", inner["name"]) != inner["name"]:
        where = ".".join(str(part) for part in path)
        raise ModelError(path, f"{where}: name and external.name conflict; only use name")
    named: JsonObject = {"name": inner["name"]} if "name" in inner else {}
    return {**value, "external": True, **named}


def _build(value: Json) -> Json:
    build: JsonObject = {**value} if isinstance(value, dict) else {"context": value}
    if isinstance(build.get("secrets"), list):
        build["secrets"] = _mounts(build["secrets"])
    if isinstance(build.get("ssh"), list):
        build["ssh"] = {
            name: path if separator else None
            for name, separator, path in (str(e).partition("=") for e in items(build["ssh"]))
        }
    for key in ("provenance", "sbom"):
        if isinstance(build.get(key), bool):
            build[key] = "true" if build[key] else "false"
    return build


def _depends_on(value: Json) -> Json:
    default: JsonObject = {"condition": "service_started", "required": True}
    if isinstance(value, dict):
        return {
            key: {**default, **item} if isinstance(item, dict) else {**default}
            for key, item in value.items()
        }
    return {str(name): {**default} for name in items(value)}


def _by_name(value: Json) -> Json:
    return value if isinstance(value, dict) else {str(name): None for name in items(value)}


def _env_files(value: Json) -> Json:
    return [
        {"required": True, **entry}
        if isinstance(entry, dict)
        else {"path": entry, "required": True}
        for entry in items(value)
    ]


def _mounts(value: Json) -> list[Json]:
    return [entry if isinstance(entry, dict) else {"source": entry} for entry in items(value)]


def _volumes(value: Json) -> Json:
    return [parse_volume(entry) if isinstance(entry, str) else entry for entry in items(value)]


def _devices(value: Json) -> Json:
    devices: list[Json] = []
    for entry in items(value):
        if not isinstance(entry, str):
            devices.append(entry)
            continue
        parts = entry.split(":")
        if len(parts) > 3:
            raise InvalidParameterError(
                f"confusing device mapping, please use long syntax: {entry}"
            )
        target = parts[1] if len(parts) > 1 and parts[1] else parts[0]
        permissions = parts[2] if len(parts) == 3 else "rwm"
        devices.append({"source": parts[0], "target": target, "permissions": permissions})
    return devices


def _gpus(value: Json) -> Json:
    return [{"count": -1}] if isinstance(value, str) else value


def _extends(value: Json) -> Json:
    return {"service": value} if isinstance(value, str) else value


def _list(value: Json) -> Json:
    return [*items(value)]


_CHANGES: Final[dict[str, Change]] = {
    "build": _build,
    "configs": _mounts,
    "depends_on": _depends_on,
    "devices": _devices,
    "dns": _list,
    "dns_search": _list,
    "env_file": _env_files,
    "extends": _extends,
    "gpus": _gpus,
    "label_file": _list,
    "models": _by_name,
    "networks": _by_name,
    "secrets": _mounts,
    "tmpfs": _list,
    "volumes": _volumes,
}


def with_defaults(model: JsonObject) -> JsonObject:
    """Return a canonical model with the defaults of ports, secrets and builds filled in."""
    result = {**model}
    services: JsonObject = {}
    for name, service in section(model, "services").items():
        changed = {**service} if isinstance(service, dict) else {}
        if isinstance(changed.get("ports"), list):
            changed["ports"] = [
                with_port_defaults(port) if isinstance(port, dict) else port
                for port in items(changed["ports"])
            ]
        if isinstance(changed.get("secrets"), list):
            changed["secrets"] = [
                {**secret, "target": secret.get("target", f"/run/secrets/{secret.get('source')}")}
                if isinstance(secret, dict)
                else secret
                for secret in items(changed["secrets"])
            ]
        if isinstance(changed.get("build"), dict):
            changed["build"] = {"context": ".", **section(changed, "build")}
        if isinstance(changed.get("volumes"), list):
            changed["volumes"] = [_volume_defaults(one) for one in items(changed["volumes"])]
        services[name] = changed
    if "services" in model:
        result["services"] = services
    return result


def _volume_defaults(volume: Json) -> Json:
    if not isinstance(volume, dict):
        return volume
    result = {**volume}
    if isinstance(result.get("bind"), dict):
        result["bind"] = {"create_host_path": True, **section(result, "bind")}
    target = result.get("target")
    if isinstance(target, str) and target.startswith("/"):
        result["target"] = posixpath.normpath(target)
    return result
