"""``linux.resources`` of the OCI runtime specification as plain values.

Names follow the specification in Python's spelling. None means "not mentioned", which a runtime
must leave alone; zero and -1 are values with meanings of their own.
Deprecated kernel memory limits (``memory.kernel``) are read by nobody and not kept.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.oci.fields import (
    UINT16_MAX,
    UINT32_MAX,
    UINT64_MAX,
    optional_boolean,
    optional_integer,
    optional_object,
    optional_string,
    read_list,
    read_object,
    read_string_map,
    require_integer,
    require_string,
)

if TYPE_CHECKING:
    from kedge.lib.jsontypes import Json, JsonObject


class DeviceRule(NamedTuple):
    """One entry of ``resources.devices``; the last rule that names an access decides it."""

    allow: bool
    type: str = "a"
    """``a`` (every device: major, minor and access are ignored), ``b`` or ``c``."""
    major: int = -1
    """-1 is every number, here and in ``minor``."""
    minor: int = -1
    access: str = "rwm"


class MemoryResources(NamedTuple):
    """``resources.memory``: bytes, -1 for unlimited."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    """Memory plus swap, as cgroup v1 counts it."""
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    kernel_tcp: int | None = None
    check_before_update: bool = False


class CpuResources(NamedTuple):
    """``resources.cpu``: times in microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class DeviceValue(NamedTuple):
    """A number for one block device: a rate or a weight."""

    major: int
    minor: int
    value: int


class BlockIoResources(NamedTuple):
    """``resources.blockIO``."""

    weight: int | None = None
    weight_device: tuple[DeviceValue, ...] = ()
    throttle_read_bps: tuple[DeviceValue, ...] = ()
    throttle_write_bps: tuple[DeviceValue, ...] = ()
    throttle_read_iops: tuple[DeviceValue, ...] = ()
    throttle_write_iops: tuple[DeviceValue, ...] = ()


class HugepageLimit(NamedTuple):
    """``resources.hugepageLimits[]``."""

    page_size: str
    """As the kernel names it, ``2MB``."""
    limit: int


class NetworkPriority(NamedTuple):
    """``resources.network.priorities[]``."""

    name: str
    priority: int


class NetworkResources(NamedTuple):
    """``resources.network``, cgroup v1 only."""

    class_id: int | None = None
    priorities: tuple[NetworkPriority, ...] = ()


class RdmaLimit(NamedTuple):
    """``resources.rdma.<device>``."""

    device: str
    hca_handles: int | None
    hca_objects: int | None


class Resources(NamedTuple):
    """``linux.resources``."""

    devices: tuple[DeviceRule, ...] | None = None
    memory: MemoryResources = MemoryResources()
    cpu: CpuResources = CpuResources()
    pids_limit: int | None = None
    block_io: BlockIoResources = BlockIoResources()
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: NetworkResources = NetworkResources()
    rdma: tuple[RdmaLimit, ...] = ()
    unified: tuple[tuple[str, str], ...] = ()
    """cgroup v2 file names and what to write into them."""


def parse_resources(document: JsonObject, path: str = "linux.resources") -> Resources:
    """Return the checked form of ``document``.

    Args:
        document: The decoded ``linux.resources`` object.
        path: Where it stands in the whole document, for messages.

    Raises:
        InvalidParameterError: A value has the wrong type or range; the message names its path.
    """
    pids = optional_object(document, "pids", path)
    devices: tuple[DeviceRule, ...] | None = None
    if document.get("devices") is not None:
        devices = read_list(document, "devices", path, _parse_device_rule)
    return Resources(
        devices=devices,
        memory=_parse_memory(optional_object(document, "memory", path) or {}, f"{path}.memory"),
        cpu=_parse_cpu(optional_object(document, "cpu", path) or {}, f"{path}.cpu"),
        pids_limit=None if pids is None else optional_integer(pids, "limit", f"{path}.pids"),
        block_io=_parse_block_io(
            optional_object(document, "blockIO", path) or {}, f"{path}.blockIO"
        ),
        hugepage_limits=read_list(document, "hugepageLimits", path, _parse_hugepage_limit),
        network=_parse_network(optional_object(document, "network", path) or {}, f"{path}.network"),
        rdma=_parse_rdma(optional_object(document, "rdma", path) or {}, f"{path}.rdma"),
        unified=_parse_unified(document, path),
    )


def _parse_device_rule(value: Json, path: str) -> DeviceRule:
    rule = read_object(value, path)
    allow = optional_boolean(rule, "allow", path)
    if allow is None:
        raise InvalidParameterError(f"{path}.allow is required")
    kind = optional_string(rule, "type", path) or "a"
    if kind not in {"a", "b", "c", "u"}:
        raise InvalidParameterError(f"{path}.type must be a, b or c, not {kind!r}")
    access = optional_string(rule, "access", path) or "rwm"
    if set(access) - set("rwm"):
        raise InvalidParameterError(f"{path}.access must be made of r, w and m, not {access!r}")
    major = optional_integer(rule, "major", path, low=-1, high=UINT32_MAX)
    minor = optional_integer(rule, "minor", path, low=-1, high=UINT32_MAX)
    return DeviceRule(
        allow=allow,
        type="c" if kind == "u" else kind,
        major=-1 if major is None else major,
        minor=-1 if minor is None else minor,
        access=access,
    )


def _parse_memory(document: JsonObject, path: str) -> MemoryResources:
    return MemoryResources(
        limit=optional_integer(document, "limit", path),
        reservation=optional_integer(document, "reservation", path),
        swap=optional_integer(document, "swap", path),
        swappiness=optional_integer(document, "swappiness", path, low=0, high=UINT64_MAX),
        disable_oom_killer=optional_boolean(document, "disableOOMKiller", path),
        kernel_tcp=optional_integer(document, "kernelTCP", path),
        check_before_update=optional_boolean(document, "checkBeforeUpdate", path) or False,
    )


def _parse_cpu(document: JsonObject, path: str) -> CpuResources:
    return CpuResources(
        shares=optional_integer(document, "shares", path, low=0, high=UINT64_MAX),
        quota=optional_integer(document, "quota", path),
        burst=optional_integer(document, "burst", path, low=0, high=UINT64_MAX),
        period=optional_integer(document, "period", path, low=0, high=UINT64_MAX),
        realtime_runtime=optional_integer(document, "realtimeRuntime", path),
        realtime_period=optional_integer(document, "realtimePeriod", path, low=0, high=UINT64_MAX),
        cpus=optional_string(document, "cpus", path) or "",
        mems=optional_string(document, "mems", path) or "",
        idle=optional_integer(document, "idle", path),
    )


def _parse_block_io(document: JsonObject, path: str) -> BlockIoResources:
    return BlockIoResources(
        weight=optional_integer(document, "weight", path, low=0, high=UINT16_MAX),
        weight_device=read_list(document, "weightDevice", path, _parse_device_weight),
        throttle_read_bps=read_list(document, "throttleReadBpsDevice", path, _parse_device_rate),
        throttle_write_bps=read_list(document, "throttleWriteBpsDevice", path, _parse_device_rate),
        throttle_read_iops=read_list(document, "throttleReadIOPSDevice", path, _parse_device_rate),
        throttle_write_iops=read_list(
            document, "throttleWriteIOPSDevice", path, _parse_device_rate
        ),
    )


def _parse_device_rate(value: Json, path: str) -> DeviceValue:
    return _parse_device_value(read_object(value, path), "rate", path, UINT64_MAX)


def _parse_device_weight(value: Json, path: str) -> DeviceValue:
    return _parse_device_value(read_object(value, path), "weight", path, UINT16_MAX)


def _parse_device_value(document: JsonObject, key: str, path: str, high: int) -> DeviceValue:
    return DeviceValue(
        require_integer(document, "major", path, low=0, high=UINT32_MAX),
        require_integer(document, "minor", path, low=0, high=UINT32_MAX),
        optional_integer(document, key, path, low=0, high=high) or 0,
    )


def _parse_hugepage_limit(value: Json, path: str) -> HugepageLimit:
    document = read_object(value, path)
    size = require_string(document, "pageSize", path)
    number, unit = size[:-2], size[-2:]
    if unit not in {"KB", "MB", "GB"} or not number.isdecimal() or number.startswith("0"):
        raise InvalidParameterError(f"{path}.pageSize must look like 2MB, not {size!r}")
    return HugepageLimit(size, require_integer(document, "limit", path, low=0, high=UINT64_MAX))


def _parse_network(document: JsonObject, path: str) -> NetworkResources:
    return NetworkResources(
        class_id=optional_integer(document, "classID", path, low=0, high=UINT32_MAX),
        priorities=read_list(document, "priorities", path, _parse_network_priority),
    )


def _parse_network_priority(value: Json, path: str) -> NetworkPriority:
    document = read_object(value, path)
    return NetworkPriority(
        require_string(document, "name", path),
        require_integer(document, "priority", path, low=0, high=UINT32_MAX),
    )


def _parse_rdma(document: JsonObject, path: str) -> tuple[RdmaLimit, ...]:
    limits: list[RdmaLimit] = []
    for device, value in document.items():
        where = f"{path}.{device}"
        entry = read_object(value, where)
        limits.append(
            RdmaLimit(
                device,
                optional_integer(entry, "hcaHandles", where, low=0, high=UINT32_MAX),
                optional_integer(entry, "hcaObjects", where, low=0, high=UINT32_MAX),
            )
        )
    return tuple(limits)


def _parse_unified(document: JsonObject, path: str) -> tuple[tuple[str, str], ...]:
    unified = read_string_map(document, "unified", path)
    for name in unified:
        # The name becomes a path below the container's cgroup and must not leave it.
        if "/" in name or name in {"", ".", ".."}:
            raise InvalidParameterError(f"{path}.unified: {name!r} must be a file name")
    return tuple(unified.items())
