"""Paths in a model that are relative to the folder its file belongs to. Pure but for ``~``."""

import os
from collections.abc import Callable
from typing import Final

from kedge.compose.canonical import items, section
from kedge.lib.jsontypes import Json, JsonObject

_REMOTE: Final = ("http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://")
_CONTEXTS: Final = ("docker-image://", "oci-layout://", "service:", "target:")


def resolve_path(path: str, directory: str) -> str:
    """Return ``path`` as an absolute one; ``~`` is the user's home."""
    if path.startswith("~"):
        return os.path.normpath(os.path.expanduser(path))
    return os.path.normpath(os.path.join(directory, path))


def resolve_paths(model: JsonObject, directory: str) -> JsonObject:
    """Return a canonical model in which every path of this host is absolute."""

    def absolute(value: Json) -> Json:
        return resolve_path(value, directory) if isinstance(value, str) and value else value

    def context(value: Json) -> Json:
        remote = str(value).startswith((*_REMOTE, *_CONTEXTS)) or "${" in str(value)
        return value if remote else absolute(value)

    result = {**model}
    if isinstance(model.get("services"), dict):
        result["services"] = {
            name: _service(service, absolute, context) if isinstance(service, dict) else service
            for name, service in section(model, "services").items()
        }
    for kind in ("configs", "secrets"):
        if isinstance(model.get(kind), dict):
            result[kind] = {
                name: {**value, "file": absolute(value["file"])}
                if isinstance(value, dict) and "file" in value
                else value
                for name, value in section(model, kind).items()
            }
    return result


def _service(
    service: JsonObject, absolute: Callable[[Json], Json], context: Callable[[Json], Json]
) -> JsonObject:
    result = {**service}
    build = section(service, "build")
    if build:
        resolved: JsonObject = {**build, "context": context(build.get("context", "."))}
        result["build"] = resolved
        contexts = build.get("additional_contexts")
        if isinstance(contexts, dict):
            listed: list[Json] = [f"{name}={value}" for name, value in contexts.items()]
            contexts = listed
        if contexts is not None:
            resolved["additional_contexts"] = {
                name: context(value)
                for name, _, value in (str(entry).partition("=") for entry in items(contexts))
            }
    if isinstance(service.get("env_file"), list):
        result["env_file"] = [
            {**entry, "path": absolute(entry.get("path"))} if isinstance(entry, dict) else entry
            for entry in items(service["env_file"])
        ]
    if isinstance(service.get("label_file"), list):
        result["label_file"] = [absolute(entry) for entry in items(service["label_file"])]
    if isinstance(service.get("volumes"), list):
        result["volumes"] = [
            {**volume, "source": absolute(volume.get("source"))}
            if isinstance(volume, dict) and volume.get("type") == "bind"
            else volume
            for volume in items(service["volumes"])
        ]
    watch = items(section(service, "develop").get("watch"))
    if watch:
        result["develop"] = {
            **section(service, "develop"),
            "watch": [
                {**one, "path": absolute(one.get("path"))} if isinstance(one, dict) else one
                for one in watch
            ],
        }
    return result
