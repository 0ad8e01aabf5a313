"""A model as ``compose config`` prints it: every value in its one form. Pure.

Mappings where files may have lists of ``KEY=value``, lists of words for commands, durations and
sizes in their canonical text, empty attributes left out.
"""

import json
from collections.abc import Callable
from typing import Final

from kedge.compose.canonical import items, section
from kedge.compose.merging import as_entries, scalar_text
from kedge.compose.values import canonical_span, parse_bytes, parse_extra_hosts, shell_words
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_ORDER: Final = ("name", "services", "networks", "volumes", "secrets", "configs", "models")


def presented(model: JsonObject) -> JsonObject:
    """Return a model in the form and order it is printed in."""
    result: JsonObject = {}
    for key in (*_ORDER, *sorted(key for key in model if key.startswith("x-"))):
        value = model.get(key)
        if value is None:
            continue
        if key == "services":
            result[key] = {
                name: _service(service) if isinstance(service, dict) else service
                for name, service in sorted(section(model, key).items())
            }
        elif isinstance(value, dict):
            result[key] = {
                name: _resource({"ipam": {}, **item} if key == "networks" else item)
                if isinstance(item, dict)
                else item
                for name, item in sorted(value.items())
            }
        else:
            result[key] = value
    return result


def _resource(resource: JsonObject) -> JsonObject:
    result = {**resource}
    if "labels" in result:
        result["labels"] = _pairs(result["labels"])
    if "driver_opts" in result:
        result["driver_opts"] = _pairs(result["driver_opts"])
    return _tidy(result)


def _tidy(value: JsonObject) -> JsonObject:
    return {
        key: item
        for key, item in sorted(value.items())
        if item is not None and (item not in ({}, [], "") or key in {"bind", "volume", "ipam"})
    }


def _service(service: JsonObject) -> JsonObject:
    result = {**service}
    for key, change in _CHANGES.items():
        if result.get(key) is not None:
            result[key] = _or_as_is(change, result[key])
    result.pop("extends", None)
    command = {
        key: result[key] for key in ("command", "entrypoint") if isinstance(result.get(key), list)
    }
    return {**dict(sorted({**_tidy(result), **command}.items()))}


def _or_as_is(change: Callable[[Json], Json], value: Json) -> Json:
    # Without interpolation a value may be a text with variables, which has no other form.
    try:
        return change(value)
    except InvalidParameterError:
        if "$" in json.dumps(value):
            return value
        raise


def _pairs(value: Json) -> Json:
    if isinstance(value, dict):
        found = {key: None if item is None else scalar_text(item) for key, item in value.items()}
    else:
        found = {}
        for entry in as_entries(value):
            key, separator, text = scalar_text(entry).partition("=")
            found[key] = text if separator else None
    return {**dict(sorted(found.items()))}


def _labels(value: Json) -> Json:
    pairs = _pairs(value)
    return {key: item or "" for key, item in pairs.items()} if isinstance(pairs, dict) else pairs


def _words(value: Json) -> Json:
    return [*shell_words(value)] if isinstance(value, str) else value


def _size(value: Json) -> Json:
    return str(parse_bytes(value))


def _span(value: Json) -> Json:
    return canonical_span(value) if isinstance(value, str) else value


def _hosts(value: Json) -> Json:
    hosts = parse_extra_hosts(value)
    return [f"{name}={address}" for name in sorted(hosts) for address in hosts[name]]


def _texts(value: Json) -> Json:
    return [scalar_text(item) for item in items(value)]


def _number(value: Json) -> Json:
    if isinstance(value, str):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            return value
    return value


def _build(value: Json) -> Json:
    build: JsonObject = {**value} if isinstance(value, dict) else {"context": value}
    for key in ("args", "additional_contexts"):
        if key in build:
            build[key] = _pairs(build[key])
    for key, change in (("labels", _labels), ("extra_hosts", _hosts), ("shm_size", _size)):
        if build.get(key) is not None:
            build[key] = change(build[key])
    return _tidy(build)


def _depends_on(value: Json) -> Json:
    result: JsonObject = {}
    for name, item in sorted(value.items()) if isinstance(value, dict) else ():
        setting = {**item} if isinstance(item, dict) else {}
        if not setting.get("restart"):
            setting.pop("restart", None)
        result[name] = {**dict(sorted(setting.items()))}
    return result


def _healthcheck(value: Json) -> Json:
    check = {**value} if isinstance(value, dict) else {}
    if isinstance(check.get("test"), str):
        check["test"] = ["CMD-SHELL", check["test"]]
    for key in ("interval", "timeout", "start_period", "start_interval"):
        if key in check:
            check[key] = _span(check[key])
    return _tidy(check)


def _ports(value: Json) -> Json:
    return [
        {
            **dict(sorted(port.items())),
            **({"published": str(port["published"])} if "published" in port else {}),
        }
        if isinstance(port, dict)
        else port
        for port in items(value)
    ]


def _networks(value: Json) -> Json:
    return {**dict(sorted(value.items()))} if isinstance(value, dict) else value


def _volumes(value: Json) -> Json:
    found: list[Json] = []
    for volume in items(value):
        if not isinstance(volume, dict):
            found.append(volume)
            continue
        kept = {key: item for key, item in volume.items() if item is not False}
        kept.setdefault(str(volume.get("type")), {})
        if isinstance(kept.get("tmpfs"), dict) and "size" in section(kept, "tmpfs"):
            kept["tmpfs"] = {
                **section(kept, "tmpfs"),
                "size": _size(section(kept, "tmpfs")["size"]),
            }
        found.append({**dict(sorted(kept.items()))})
    return found


def _deploy(value: Json) -> Json:
    deploy = {**value} if isinstance(value, dict) else {}
    if "labels" in deploy:
        deploy["labels"] = _labels(deploy["labels"])
    resources = {**section(deploy, "resources")}
    for kind in ("limits", "reservations"):
        group = section(resources, kind)
        if "memory" in group:
            resources[kind] = {**group, "memory": _size(group["memory"])}
    if resources:
        deploy["resources"] = resources
    if "placement" not in deploy:
        deploy["placement"] = {}
    return {**dict(sorted(deploy.items()))}


_CHANGES: Final[dict[str, Callable[[Json], Json]]] = {
    "annotations": _pairs,
    "build": _build,
    "command": _words,
    "cpus": _number,
    "depends_on": _depends_on,
    "deploy": _deploy,
    "entrypoint": _words,
    "environment": _pairs,
    "expose": _texts,
    "extra_hosts": _hosts,
    "group_add": _texts,
    "healthcheck": _healthcheck,
    "labels": _labels,
    "mem_limit": _size,
    "mem_reservation": _size,
    "memswap_limit": _size,
    "networks": _networks,
    "ports": _ports,
    "shm_size": _size,
    "stop_grace_period": _span,
    "sysctls": _pairs,
    "volumes": _volumes,
}
