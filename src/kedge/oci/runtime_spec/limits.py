"""Parsing `linux.resources`, also on its own as `update` receives it."""

from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.oci.runtime_spec.fields import INT64, UINT16, UINT32, UINT64, Fields
from kedge.oci.runtime_spec.resources import (
    BlockIoLimits,
    CpuLimits,
    DeviceRule,
    HugepageLimit,
    MemoryLimits,
    NetworkLimits,
    NetworkPriority,
    RdmaLimit,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

_PAGE_UNITS: Final = ("KB", "MB", "GB")


def _device_rule(fields: Fields) -> DeviceRule:
    if not fields.has("allow"):
        raise fields.missing("allow")
    return DeviceRule(
        allow=fields.boolean("allow"),
        type=fields.string("type") or "a",
        major=_wildcard(fields, "major"),
        minor=_wildcard(fields, "minor"),
        access=fields.string("access") or "rwm",
    )


def _wildcard(fields: Fields, name: str) -> int | None:
    """Return a device number; runc and its callers write -1 for "all" as well as leaving it out."""
    number = fields.optional_integer(name, INT64)
    return None if number == -1 else number


def _memory(fields: Fields) -> MemoryLimits:
    return MemoryLimits(
        limit=fields.optional_integer("limit", INT64),
        reservation=fields.optional_integer("reservation", INT64),
        swap=fields.optional_integer("swap", INT64),
        kernel=fields.optional_integer("kernel", INT64),
        kernel_tcp=fields.optional_integer("kernelTCP", INT64),
        swappiness=fields.optional_integer("swappiness", UINT64),
        disable_oom_killer=fields.optional_boolean("disableOOMKiller"),
        use_hierarchy=fields.optional_boolean("useHierarchy"),
        check_before_update=fields.boolean("checkBeforeUpdate"),
    )


def _cpu(fields: Fields) -> CpuLimits:
    return CpuLimits(
        shares=fields.optional_integer("shares", UINT64),
        quota=fields.optional_integer("quota", INT64),
        burst=fields.optional_integer("burst", UINT64),
        period=fields.optional_integer("period", UINT64),
        realtime_runtime=fields.optional_integer("realtimeRuntime", INT64),
        realtime_period=fields.optional_integer("realtimePeriod", UINT64),
        cpus=fields.string("cpus"),
        mems=fields.string("mems"),
        idle=fields.optional_integer("idle", INT64),
    )


def _weight_device(fields: Fields) -> WeightDevice:
    return WeightDevice(
        major=fields.integer("major", INT64, None),
        minor=fields.integer("minor", INT64, None),
        weight=fields.optional_integer("weight", UINT16),
        leaf_weight=fields.optional_integer("leafWeight", UINT16),
    )


def _throttle_device(fields: Fields) -> ThrottleDevice:
    return ThrottleDevice(
        major=fields.integer("major", INT64, None),
        minor=fields.integer("minor", INT64, None),
        rate=fields.integer("rate", UINT64),
    )


def _block_io(fields: Fields) -> BlockIoLimits:
    return BlockIoLimits(
        weight=fields.optional_integer("weight", UINT16),
        leaf_weight=fields.optional_integer("leafWeight", UINT16),
        weight_devices=fields.array("weightDevice", _weight_device),
        throttle_read_bps=fields.array("throttleReadBpsDevice", _throttle_device),
        throttle_write_bps=fields.array("throttleWriteBpsDevice", _throttle_device),
        throttle_read_iops=fields.array("throttleReadIOPSDevice", _throttle_device),
        throttle_write_iops=fields.array("throttleWriteIOPSDevice", _throttle_device),
    )


def _hugepage(fields: Fields) -> HugepageLimit:
    size = fields.string("pageSize", None)
    if not (size[:-2].isdecimal() and size[0] != "0" and size[-2:] in _PAGE_UNITS):
        raise InvalidParameterError(
            f"invalid config.json: {fields.at('pageSize')}: {size!r} is not a size such as 2MB"
        )
    return HugepageLimit(page_size=size, limit=fields.integer("limit", UINT64, None))


def _network(fields: Fields) -> NetworkLimits:
    return NetworkLimits(
        class_id=fields.optional_integer("classID", UINT32),
        priorities=fields.array(
            "priorities",
            lambda item: NetworkPriority(
                name=item.string("name", None), priority=item.integer("priority", UINT32, None)
            ),
        ),
    )


def _rdma(fields: Fields) -> RdmaLimit:
    return RdmaLimit(
        hca_handles=fields.optional_integer("hcaHandles", UINT32),
        hca_objects=fields.optional_integer("hcaObjects", UINT32),
    )


def parse_resources(fields: Fields) -> Resources:
    """Return the limits in a ``linux.resources`` object."""
    return Resources(
        devices=fields.array("devices", _device_rule),
        memory=fields.nested("memory", _memory) or MemoryLimits(),
        cpu=fields.nested("cpu", _cpu) or CpuLimits(),
        pids_limit=fields.nested("pids", lambda pids: pids.integer("limit", INT64, None)),
        block_io=fields.nested("blockIO", _block_io) or BlockIoLimits(),
        hugepages=fields.array("hugepageLimits", _hugepage),
        network=fields.nested("network", _network) or NetworkLimits(),
        rdma=fields.object_map("rdma", _rdma),
        unified=fields.string_map("unified"),
    )
