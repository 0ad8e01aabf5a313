"""Container Device Interface: devices that vendors describe in files, and their injection.

A specification is a JSON file in one of the engine's CDI folders. A later folder wins over an
earlier one; a device that two files of the same folder describe is nobody's, as the reference
implementation has it. YAML files are read where they are JSON, too; others are named as a problem.
Vocabulary: the CDI specification 1.1. What is injected is in the runtime specification's words.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kedge.api.types.config import DeviceRequest
from kedge.engine.devices import allow_node, describe_device
from kedge.errdefs import InvalidParameterError, KedgeError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject

DEFAULT_SPEC_DIRS: Final = ("/etc/cdi", "/var/run/cdi")
_QUALIFIED: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*"
)
_HOOKS: Final = frozenset(
    ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
)
# Kinds that answer to `--gpus`, in the order in which they are tried.
_GPU_KINDS: Final = ("nvidia.com/gpu", "amd.com/gpu")


class DeviceNode(msgspec.Struct, rename="camel"):
    """A device node to make in the container."""

    path: str
    host_path: str = ""
    permissions: str = ""
    type: str = ""
    major: int | None = None
    minor: int | None = None
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class CdiMount(msgspec.Struct, rename="camel"):
    """A host path to bind."""

    host_path: str
    container_path: str
    options: list[str] = msgspec.field(default_factory=list[str])
    type: str = ""


class CdiHook(msgspec.Struct, rename="camel"):
    """A program to run at a point of the container's life."""

    hook_name: str
    path: str
    args: list[str] = msgspec.field(default_factory=list[str])
    env: list[str] = msgspec.field(default_factory=list[str])
    timeout: int | None = None


class Unsupported(msgspec.Struct):
    """An edit that is read only to be refused by name."""


class ContainerEdits(msgspec.Struct, rename="camel"):
    """What a device changes in a container's specification."""

    env: list[str] = msgspec.field(default_factory=list[str])
    device_nodes: list[DeviceNode] = msgspec.field(default_factory=list[DeviceNode])
    mounts: list[CdiMount] = msgspec.field(default_factory=list[CdiMount])
    hooks: list[CdiHook] = msgspec.field(default_factory=list[CdiHook])
    additional_gids: list[int] = msgspec.field(name="additionalGids", default_factory=list[int])
    net_devices: list[Unsupported] = msgspec.field(default_factory=list[Unsupported])
    intel_rdt: Unsupported | None = None


class CdiDevice(msgspec.Struct, rename="camel"):
    """One device of a specification."""

    name: str
    container_edits: ContainerEdits


class CdiSpec(msgspec.Struct, rename="camel"):
    """One file."""

    cdi_version: str
    kind: str
    devices: list[CdiDevice]
    container_edits: ContainerEdits = msgspec.field(default_factory=ContainerEdits)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiRegistry:
    """The devices found, by qualified name, each with the file it stands in."""

    devices: dict[str, tuple[CdiSpec, CdiDevice]] = field(
        default_factory=dict[str, tuple[CdiSpec, CdiDevice]]
    )
    problems: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Injection:
    """All edits of the devices a container asked for."""

    env: list[str] = field(default_factory=list[str])
    nodes: list[JsonObject] = field(default_factory=list[JsonObject])
    rules: list[JsonObject] = field(default_factory=list[JsonObject])
    mounts: list[CdiMount] = field(default_factory=list[CdiMount])
    hooks: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    additional_gids: list[int] = field(default_factory=list[int])


def load_registry(directories: Sequence[str]) -> CdiRegistry:
    """Return the devices of every readable specification; a broken file is a problem, no error."""
    devices: dict[str, tuple[CdiSpec, CdiDevice]] = {}
    problems: list[str] = []
    for directory in directories:
        here: dict[str, tuple[CdiSpec, CdiDevice]] = {}
        conflicts: set[str] = set()
        for path in _list_files(directory):
            try:
                spec = _load_spec(path)
            except (OSError, KedgeError) as error:
                problems.append(f"CDI: {path}: {error}")
                continue
            for device in spec.devices:
                name = f"{spec.kind}={device.name}"
                if name in here:
                    conflicts.add(name)
                here[name] = (spec, device)
        devices.update(here)
        for name in sorted(conflicts):
            problems.append(f"CDI: device {name} is described twice in {directory}")
            del devices[name]
    return CdiRegistry(devices=devices, problems=tuple(problems))


def _list_files(directory: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if name.endswith((".json", ".yaml", ".yml")):
            yield os.path.join(directory, name)


def _load_spec(path: str) -> CdiSpec:
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        spec = msgspec.convert(json.loads(data), CdiSpec)
    except ValueError as error:
        hint = "" if path.endswith(".json") else " (only JSON is read: convert the file)"
        raise InvalidParameterError(f"{error}{hint}") from error
    for device in spec.devices:
        if not _QUALIFIED.fullmatch(f"{spec.kind}={device.name}"):
            raise InvalidParameterError(f"{spec.kind}={device.name} is no name of a device")
    return spec


def select_devices(requests: Sequence[DeviceRequest], registry: CdiRegistry) -> list[str]:
    """Return the qualified names that device requests stand for.

    Raises:
        SystemFailureError: No driver for a request, with Docker's text.
    """
    chosen: list[str] = []
    for request in requests:
        if request.driver == "cdi":
            chosen.extend(request.device_ids)
        else:
            chosen.extend(_select_gpus(request, registry))
    return list(dict.fromkeys(chosen))


def _select_gpus(request: DeviceRequest, registry: CdiRegistry) -> list[str]:
    wanted = {name for group in request.capabilities for name in group}
    vendor = request.driver
    for kind in _GPU_KINDS if "gpu" in wanted else ():
        names = [name for name in registry.devices if name.startswith(f"{kind}=")]
        if not names or vendor not in {"", kind.partition(".")[0]}:
            continue
        if request.device_ids:
            return [f"{kind}={device}" for device in request.device_ids]
        # Vendors describe each device by its number, and often all of them as one more.
        single = sorted(name for name in names if not name.endswith("=all"))
        if request.count < 0:
            return [f"{kind}=all"] if f"{kind}=all" in names else single
        if request.count > len(single):
            raise SystemFailureError(
                f"{request.count} devices of {kind} are asked for, this host has {len(single)}"
            )
        return single[: request.count]
    raise SystemFailureError(
        f'could not select device driver "{vendor}" with capabilities: '
        f"[{' '.join('[' + ' '.join(group) + ']' for group in request.capabilities)}]"
    )


def inject(names: Sequence[str], registry: CdiRegistry, *, privileged: bool) -> Injection:
    """Return the edits of the devices ``names``.

    Raises:
        SystemFailureError: A device nobody describes, or an edit that cannot be made.
    """
    unknown = [name for name in names if name not in registry.devices]
    if unknown:
        raise SystemFailureError(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(unknown)}"
        )
    result = Injection()
    seen: set[int] = set()
    for name in names:
        spec, device = registry.devices[name]
        if id(spec) not in seen:
            seen.add(id(spec))
            _apply(spec.container_edits, result, privileged=privileged)
        _apply(device.container_edits, result, privileged=privileged)
    return result


def _apply(edits: ContainerEdits, result: Injection, *, privileged: bool) -> None:
    if edits.net_devices or edits.intel_rdt:
        what = "netDevices" if edits.net_devices else "intelRdt"
        raise SystemFailureError(f"CDI device injection failed: {what} is not supported by kedge")
    result.env.extend(edits.env)
    result.mounts.extend(edits.mounts)
    result.additional_gids.extend(edits.additional_gids)
    for node in edits.device_nodes:
        described = _describe(node)
        result.nodes.append(described)
        if not privileged and described["type"] != "p":
            result.rules.append(allow_node(described, node.permissions or "rwm"))
    for hook in edits.hooks:
        if hook.hook_name not in _HOOKS:
            raise SystemFailureError(
                f'CDI device injection failed: unknown hook name "{hook.hook_name}"'
            )
        entry: JsonObject = {
            "path": hook.path,
            "args": list[Json](hook.args),
            "env": list[Json](hook.env),
        }
        if hook.timeout is not None:
            entry["timeout"] = hook.timeout
        result.hooks.setdefault(hook.hook_name, []).append(entry)


def _describe(node: DeviceNode) -> JsonObject:
    """Return the node, with what its description leaves open taken from the host's."""
    described: JsonObject = {}
    if node.major is None or node.minor is None or not node.type:
        try:
            described = describe_device(node.host_path or node.path, node.path)
        except OSError as error:
            raise SystemFailureError(
                "CDI device injection failed: failed to stat CDI host device "
                f'"{node.host_path or node.path}": {(error.strerror or "").lower()}'
            ) from error
    described["path"] = node.path
    for key, value in (
        ("type", node.type), ("major", node.major), ("minor", node.minor),
        ("fileMode", node.file_mode), ("uid", node.uid), ("gid", node.gid),
    ):  # fmt: skip
        if value not in (None, ""):
            described[key] = value
    return described
