"""What a model leaves unsaid: default network, names, implied dependencies, builds. Pure."""

from collections.abc import Mapping
from typing import Final

from kedge.compose.canonical import items, section
from kedge.compose.merging import as_entries
from kedge.lib.jsontypes import Json, JsonObject

_SHARED: Final = ("network_mode", "ipc", "pid", "uts", "cgroup")


def normalize(model: JsonObject, env: Mapping[str, str]) -> JsonObject:
    """Return a canonical model with everything implied written out."""
    result = {**model}
    services: JsonObject = {}
    for name, service in section(model, "services").items():
        if isinstance(service, dict):
            services[name] = _service(service, env)
    if "services" in model:
        result["services"] = services
    networks = {**section(model, "networks")}
    used = any(
        "default" in section(service, "networks")
        for service in services.values()
        if isinstance(service, dict)
    )
    if used:
        networks.setdefault("default", None)
    if networks:
        result["networks"] = networks
    for kind in ("networks", "volumes", "configs", "secrets"):
        if kind in result:
            result[kind] = {
                key: _named(value, key, result.get("name"))
                for key, value in section(result, kind).items()
            }
    return result


def _named(value: Json, key: str, project: Json) -> Json:
    resource = {**value} if isinstance(value, dict) else {}
    if resource.get("name") is None:
        resource["name"] = key if resource.get("external") else f"{project}_{key}"
    return resource


def _service(service: JsonObject, env: Mapping[str, str]) -> JsonObject:
    result = {**service}
    if result.get("pull_policy") == "if_not_present":
        result["pull_policy"] = "missing"
    if isinstance(result.get("build"), dict):
        result["build"] = _build(section(result, "build"), env)
    if "environment" in result:
        result["environment"] = resolve_values(result["environment"], env, keep=True)
    depends_on = implied_dependencies(result)
    if depends_on:
        result["depends_on"] = depends_on
    if "provider" not in result and "network_mode" not in result and not result.get("networks"):
        result["networks"] = {"default": None}
    image = result.get("image")
    if image and isinstance(result.get("pre_start"), list):
        result["pre_start"] = [
            {**hook, "image": hook.get("image", image)} if isinstance(hook, dict) else hook
            for hook in items(result["pre_start"])
        ]
    return result


def _build(build: JsonObject, env: Mapping[str, str]) -> JsonObject:
    result = {**build}
    if result.get("context") is None:
        result["context"] = "."
    if result.get("dockerfile") is None and result.get("dockerfile_inline") is None:
        result["dockerfile"] = "Dockerfile"
    if "args" in result:
        result["args"] = resolve_values(result["args"], env, keep=False)
    return result


def resolve_values(value: Json, env: Mapping[str, str], *, keep: bool) -> Json:
    """Return ``KEY=value`` entries where keys alone take their value from ``env``.

    ``keep`` leaves those that have none there; otherwise they go.
    """
    if isinstance(value, dict):
        return {
            key: env.get(key) if item is None else item
            for key, item in value.items()
            if keep or item is not None or key in env
        }
    found: list[Json] = []
    for entry in as_entries(value):
        text = str(entry)
        if "=" not in text and text in env:
            found.append(f"{text}={env[text]}")
        elif "=" in text or keep:
            found.append(text)
    return found


def implied_dependencies(service: JsonObject) -> JsonObject:
    """Return the dependencies of a service, those of links and shared namespaces included."""
    found = {**section(service, "depends_on")}
    for link in items(service.get("links")):
        found.setdefault(str(link).partition(":")[0], _started(restart=True))
    for key in _SHARED:
        value = service.get(key)
        if isinstance(value, str) and value.startswith("service:"):
            found.setdefault(value.removeprefix("service:"), _started(restart=True))
    for source in items(service.get("volumes_from")):
        if not str(source).startswith("container:"):
            found.setdefault(str(source).partition(":")[0], _started(restart=False))
    return found


def _started(*, restart: bool) -> JsonObject:
    return {"condition": "service_started", "restart": restart, "required": True}
