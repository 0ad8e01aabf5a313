"""A service's volumes, tmpfs, secrets and configs as the API's mounts. Pure.

Folders of the host go through ``Binds`` where the engine is to make them; everything else is a
``Mount``. What has no file (``content``, ``environment``) is copied into the container instead.
"""

import posixpath
from collections.abc import Mapping
from typing import Final, NamedTuple

from kedge.compose.containerconfig import truth
from kedge.compose.values import parse_bytes, parse_whole
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.fields import items, mapping, objects, text
from kedge.lib.jsontypes import Json, JsonObject

_SECRETS: Final = "/run/secrets"
_TMPFS_OPTIONS: Final = {"size": "SizeBytes", "mode": "Mode"}
FILE_MODE: Final = 0o444


class CopiedFile(NamedTuple):
    """A file that is put into a container before it starts."""

    path: str
    content: bytes
    uid: int = 0
    gid: int = 0
    mode: int = FILE_MODE


class Mounts(NamedTuple):
    """What a container sees besides its image."""

    host_config: JsonObject
    files: tuple[CopiedFile, ...]


def mounts(service: JsonObject, model: JsonObject, env: Mapping[str, str]) -> Mounts:
    """Return the mounts of a service.

    Args:
        service: The service.
        model: Where its volumes, secrets and configs are declared.
        env: The project's environment, for secrets that are taken from it.

    Raises:
        NotSupportedError: An external secret or config, which only a cluster has.
        InvalidParameterError: A variable that is not set, or a file where none can be put.
    """
    binds: list[Json] = []
    mounted: list[Json] = []
    for volume in objects(service, "volumes"):
        if text(volume, "type") == "bind" and _wants_bind(volume):
            binds.append(_bind(volume))
        else:
            mounted.append(_mount(volume, model))
    files: list[CopiedFile] = []
    for kind in ("configs", "secrets"):
        for use in objects(service, kind):
            path = text(mapping(model, kind, text(use, "source")), "file")
            if path:
                mounted.append(_file_mount(kind, use, path))
            else:
                files.append(_copied(kind, use, model, env))
    if files and truth(service.get("read_only")):
        raise InvalidParameterError(
            f"cannot put {files[0].path} into a service with read_only: give it as a file"
        )
    host: JsonObject = {}
    if binds:
        host["Binds"] = binds
    if mounted:
        host["Mounts"] = mounted
    tmpfs = _tmpfs(service)
    if tmpfs:
        host["Tmpfs"] = tmpfs
    return Mounts(host, tuple(files))


def _tmpfs(service: JsonObject) -> JsonObject:
    parted = (str(entry).partition(":") for entry in items(service, "tmpfs"))
    return {path: options for path, _, options in parted}


def _wants_bind(volume: JsonObject) -> bool:
    settings = mapping(volume, "bind")
    return "recursive" not in settings and (
        truth(settings.get("create_host_path", True)) or bool(settings.get("selinux"))
    )


def _bind(volume: JsonObject) -> str:
    settings = mapping(volume, "bind")
    options = ["ro" if truth(volume.get("read_only")) else "rw"]
    options += [str(settings[key]) for key in ("selinux", "propagation") if settings.get(key)]
    return f"{text(volume, 'source')}:{text(volume, 'target')}:{','.join(options)}"


def _mount(volume: JsonObject, model: JsonObject) -> JsonObject:
    kind = text(volume, "type")
    if kind in {"npipe", "cluster"}:
        raise NotSupportedError(f"volumes of type {kind} are not for a single Linux host")
    source = text(volume, "source")
    if kind == "volume" and source:
        source = text(mapping(model, "volumes", source), "name") or source
    mount: JsonObject = {"Type": kind, "Target": text(volume, "target")}
    if source:
        mount["Source"] = source
    if truth(volume.get("read_only")):
        mount["ReadOnly"] = True
    if volume.get("consistency"):
        mount["Consistency"] = text(volume, "consistency")
    options = _OPTIONS[kind](mapping(volume, kind))
    if options:
        mount[f"{kind.capitalize()}Options"] = options
    return mount


def _bind_options(settings: JsonObject) -> JsonObject:
    options: JsonObject = {}
    if settings.get("propagation"):
        options["Propagation"] = text(settings, "propagation")
    match text(settings, "recursive"):
        case "disabled":
            options["NonRecursive"] = True
        case "writable":
            options["ReadOnlyNonRecursive"] = True
        case "readonly":
            options["ReadOnlyForceRecursive"] = True
        case _:
            pass
    return options


def _volume_options(settings: JsonObject) -> JsonObject:
    options: JsonObject = {}
    if truth(settings.get("nocopy")):
        options["NoCopy"] = True
    if settings.get("subpath"):
        options["Subpath"] = text(settings, "subpath")
    if settings.get("labels"):
        labels = mapping(settings, "labels")
        options["Labels"] = {key: str(value) for key, value in labels.items()}
    return options


def _tmpfs_options(settings: JsonObject) -> JsonObject:
    options: JsonObject = {}
    if settings.get("size"):
        options["SizeBytes"] = parse_bytes(settings["size"])
    if settings.get("mode"):
        options["Mode"] = _mode(settings["mode"])
    return options


def _image_options(settings: JsonObject) -> JsonObject:
    return {"Subpath": text(settings, "subpath")} if settings.get("subpath") else {}


_OPTIONS: Final = {
    "bind": _bind_options,
    "volume": _volume_options,
    "tmpfs": _tmpfs_options,
    "image": _image_options,
}


def _target(kind: str, use: JsonObject) -> str:
    source, target = text(use, "source"), text(use, "target")
    if not target:
        return f"/{source}" if kind == "configs" else f"{_SECRETS}/{source}"
    if target.startswith("/"):
        return target
    return f"/{target}" if kind == "configs" else f"{_SECRETS}/{target}"


def _file_mount(kind: str, use: JsonObject, path: str) -> JsonObject:
    return {"Type": "bind", "Source": path, "Target": _target(kind, use), "ReadOnly": True}


def _copied(kind: str, use: JsonObject, model: JsonObject, env: Mapping[str, str]) -> CopiedFile:
    name = text(use, "source")
    declared = mapping(model, kind, name)
    if truth(declared.get("external")):
        raise NotSupportedError(f"unsupported external {kind.removesuffix('s')} {name}")
    if isinstance(declared.get("content"), str):
        content = text(declared, "content")
    else:
        variable = text(declared, "environment")
        if variable not in env:
            raise InvalidParameterError(
                f'environment variable "{variable}" required by {kind.removesuffix("s")} '
                f'"{name}" is not set'
            )
        content = env[variable]
    return CopiedFile(
        posixpath.normpath(_target(kind, use)),
        content.encode(),
        _number(use, "uid"),
        _number(use, "gid"),
        _mode(use["mode"]) if use.get("mode") is not None else FILE_MODE,
    )


def _number(use: JsonObject, key: str) -> int:
    value = str(use.get(key) or "0")
    if not value.isdigit():
        raise InvalidParameterError(f"{text(use, 'source')}: {key} must be a number: {value}")
    return int(value)


def _mode(value: Json) -> int:
    return parse_whole(value, "mode", base=8)
