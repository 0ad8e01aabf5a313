"""``--device``, ``--device-cgroup-rule`` and block devices with limits: from paths to numbers.

Looks at the host's /dev when a container starts, not when it is created: a device may come and go.
What the runtime is told is in the words of the runtime specification (``linux.devices``,
``resources.devices``, ``resources.blockIO``). CDI devices are in `kedge.engine.cdi`.
"""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kedge.api.types.config import DeviceMapping, HostConfig, ThrottleDevice
from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject

_RULE: Final = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
# Folders of /dev that hold no devices of the host's, or mounts of the container's own.
_SKIPPED: Final = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_ACCESS: Final = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """Device nodes to make and the access to allow beyond the default."""

    nodes: tuple[JsonObject, ...] = ()
    rules: tuple[JsonObject, ...] = ()


NO_DEVICES: Final = DevicePlan()


def check_devices(host: HostConfig) -> None:
    """Raise unless mappings and rules are well formed; the devices need not exist yet."""
    for text in host.device_cgroup_rules:
        if not _RULE.fullmatch(text):
            raise InvalidParameterError(f"invalid device cgroup rule format: '{text}'")
    for device in host.devices:
        access = device.cgroup_permissions
        if access and (set(access) - set(_ACCESS) or len(set(access)) != len(access)):
            raise InvalidParameterError(
                f"invalid device mode: {access}: use letters of {_ACCESS}, each once"
            )


def plan_devices(host: HostConfig) -> DevicePlan:
    """Return what ``--device``, ``--device-cgroup-rule`` and ``--privileged`` ask for.

    Raises:
        SystemFailureError: A device does not exist or is none, with Docker's text.
    """
    nodes: dict[str, JsonObject] = {}
    rules: list[JsonObject] = []
    if host.privileged:
        for path in _walk("/dev"):
            _add_node(nodes, path, path)
    for mapping in host.devices:
        found = _resolve(mapping)
        for path, inside in found:
            _add_node(nodes, path, inside)
        if not host.privileged:
            access = mapping.cgroup_permissions or _ACCESS
            rules.extend(_rule_of(nodes[inside], access) for _, inside in found)
    if not host.privileged:
        rules.extend(_parse_rule(text) for text in host.device_cgroup_rules)
    return DevicePlan(nodes=tuple(nodes.values()), rules=tuple(rules))


def _resolve(mapping: DeviceMapping) -> list[tuple[str, str]]:
    """Return host path and container path of each device a mapping names."""
    source = mapping.path_on_host
    target = os.path.normpath(mapping.path_in_container or source)
    try:
        real = os.path.realpath(source, strict=True)
        mode = os.stat(real).st_mode
    except OSError as error:
        raise _gathering_failed(source, (error.strerror or "not found").lower()) from error
    if stat.S_ISDIR(mode):
        found = [(path, os.path.join(target, os.path.relpath(path, real))) for path in _walk(real)]
        if found:
            return found
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return [(real, target)]
    raise _gathering_failed(source, "not a device node")


def _gathering_failed(path: str, why: str) -> SystemFailureError:
    return SystemFailureError(
        f'error gathering device information while adding custom device "{path}": {why}'
    )


def _walk(directory: str) -> Iterable[str]:
    """Yield the device nodes in a folder and below it; links are not followed."""
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _SKIPPED:
                yield from _walk(entry.path)
        elif entry.name != "console" and _is_device(entry):
            yield entry.path


def _is_device(entry: "os.DirEntry[str]") -> bool:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _add_node(nodes: dict[str, JsonObject], path: str, inside: str) -> None:
    try:
        nodes[inside] = describe_device(path, inside)
    except OSError:
        # Gone since it was listed; one that was named is checked before.
        return


def describe_device(path: str, inside: str) -> JsonObject:
    """Return the host's device node ``path`` as the specification describes ``inside``.

    Raises:
        OSError: It cannot be looked at, or is no device node (ENODEV).
    """
    found = os.stat(path)
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise OSError(19, "not a device node", path)
    return {
        "path": inside,
        "type": "b" if stat.S_ISBLK(found.st_mode) else "c",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _rule_of(node: JsonObject, access: str) -> JsonObject:
    return {
        "allow": True,
        "type": node["type"],
        "major": node["major"],
        "minor": node["minor"],
        "access": access,
    }


def allow_node(node: JsonObject, access: str = _ACCESS) -> JsonObject:
    """Return the rule that allows ``access`` to a node of `describe_device`."""
    return _rule_of(node, access)


def _parse_rule(text: str) -> JsonObject:
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidParameterError(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    rule: JsonObject = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule


def plan_block_io(host: HostConfig) -> JsonObject:
    """Return ``resources.blockIO``.

    Raises:
        SystemFailureError: A device that is limited does not exist, with Docker's text.
    """
    block_io: JsonObject = {}
    if host.blkio_weight:
        block_io["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        block_io["weightDevice"] = [
            {**_numbers(item.path), "weight": item.weight} for item in host.blkio_weight_device
        ]
    throttles: tuple[tuple[str, Sequence[ThrottleDevice]], ...] = (
        ("throttleReadBpsDevice", host.blkio_device_read_bps),
        ("throttleWriteBpsDevice", host.blkio_device_write_bps),
        ("throttleReadIOPSDevice", host.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", host.blkio_device_write_iops),
    )
    for key, devices in throttles:
        if devices:
            block_io[key] = [{**_numbers(item.path), "rate": item.rate} for item in devices]
    return block_io


def _numbers(path: str) -> dict[str, Json]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise SystemFailureError(f"stat {path}: {(error.strerror or '').lower()}") from error
    if not stat.S_ISBLK(found.st_mode):
        raise SystemFailureError(f"{path} is not a block device: its I/O cannot be limited")
    return {"major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)}
