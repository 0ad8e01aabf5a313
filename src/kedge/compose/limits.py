"""What a service may use: CPU, memory, processes, devices. Pure.

``deploy.resources`` and the older attributes mean the same; the loader has refused contradictions.
"""

import re
from collections.abc import Callable
from typing import Final

from kedge.compose.values import parse_bytes, parse_fraction, parse_span, parse_whole
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import items, mapping, objects, text, texts
from kedge.lib.jsontypes import Json, JsonObject

_CDI: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*/[A-Za-z][A-Za-z0-9._-]*=[A-Za-z0-9._:-]+")
_RATES: Final = {
    "device_read_bps": "BlkioDeviceReadBps",
    "device_read_iops": "BlkioDeviceReadIOps",
    "device_write_bps": "BlkioDeviceWriteBps",
    "device_write_iops": "BlkioDeviceWriteIOps",
}


def _whole(value: Json) -> int:
    return parse_whole(value, "limit")


def _nanos(value: Json) -> int:
    return round(parse_fraction(value, "cpus") * 1_000_000_000)


def _micros(value: Json) -> int:
    if isinstance(value, (int, float)):
        return int(parse_fraction(value, "limit"))
    return parse_span(str(value)) // 1000


_NUMBERS: Final[dict[str, tuple[str, Callable[[Json], int]]]] = {
    "cpu_count": ("CpuCount", _whole),
    "cpu_percent": ("CpuPercent", _whole),
    "cpu_period": ("CpuPeriod", _micros),
    "cpu_quota": ("CpuQuota", _micros),
    "cpu_rt_period": ("CpuRealtimePeriod", _micros),
    "cpu_rt_runtime": ("CpuRealtimeRuntime", _micros),
    "cpu_shares": ("CpuShares", _whole),
    "cpus": ("NanoCpus", _nanos),
    "mem_limit": ("Memory", parse_bytes),
    "mem_reservation": ("MemoryReservation", parse_bytes),
    "mem_swappiness": ("MemorySwappiness", _whole),
    "memswap_limit": ("MemorySwap", parse_bytes),
    "oom_score_adj": ("OomScoreAdj", _whole),
    "pids_limit": ("PidsLimit", _whole),
    "shm_size": ("ShmSize", parse_bytes),
}
_DEPLOYED: Final = (
    ("limits", "cpus", "cpus"),
    ("limits", "memory", "mem_limit"),
    ("limits", "pids", "pids_limit"),
    ("reservations", "memory", "mem_reservation"),
)


def limits(service: JsonObject) -> JsonObject:
    """Return the HostConfig fields that limit a service."""
    wanted = {**service}
    resources = mapping(service, "deploy", "resources")
    for group, name, attribute in _DEPLOYED:
        value = mapping(resources, group).get(name)
        if value is not None:
            wanted[attribute] = value
    found: JsonObject = {}
    for name, (field, convert) in _NUMBERS.items():
        value = wanted.get(name)
        if value is not None:
            found[field] = _converted(name, value, convert)
    if service.get("cpuset"):
        found["CpusetCpus"] = str(service["cpuset"])
    found |= _block_io(mapping(service, "blkio_config"))
    ulimits = [_ulimit(name, value) for name, value in mapping(service, "ulimits").items()]
    if ulimits:
        found["Ulimits"] = [*ulimits]
    return found | _devices(service)


def _converted(name: str, value: Json, convert: Callable[[Json], int]) -> int:
    try:
        return convert(value)
    except ValueError:
        raise InvalidParameterError(f"{name}: not a number: {value}") from None


def _ulimit(name: str, value: Json) -> JsonObject:
    if isinstance(value, dict):
        return {"Name": name, "Soft": _whole(value.get("soft")), "Hard": _whole(value.get("hard"))}
    return {"Name": name, "Soft": _whole(value), "Hard": _whole(value)}


def _block_io(config: JsonObject) -> JsonObject:
    found: JsonObject = {}
    if config.get("weight") is not None:
        found["BlkioWeight"] = _whole(config["weight"])
    weights: list[Json] = [
        {"Path": text(one, "path"), "Weight": _whole(one.get("weight"))}
        for one in objects(config, "weight_device")
    ]
    if weights:
        found["BlkioWeightDevice"] = weights
    for name, field in _RATES.items():
        rates: list[Json] = [
            {"Path": text(one, "path"), "Rate": parse_bytes(one.get("rate"))}
            for one in objects(config, name)
        ]
        if rates:
            found[field] = rates
    return found


def _devices(service: JsonObject) -> JsonObject:
    found: JsonObject = {}
    paths: list[Json] = []
    cdi: list[Json] = []
    for device in objects(service, "devices"):
        source = text(device, "source")
        if _CDI.fullmatch(source):
            cdi.append(source)
            continue
        paths.append(
            {
                "PathOnHost": source,
                "PathInContainer": text(device, "target") or source,
                "CgroupPermissions": text(device, "permissions") or "rwm",
            }
        )
    if paths:
        found["Devices"] = paths
    requests: list[Json] = [{"Driver": "cdi", "DeviceIDs": cdi}] if cdi else []
    requests += [_device_request(one, "gpu") for one in objects(service, "gpus")]
    requests += [
        _device_request(one)
        for one in objects(service, "deploy", "resources", "reservations", "devices")
    ]
    if requests:
        found["DeviceRequests"] = requests
    return found


def _device_request(request: JsonObject, *implied: str) -> JsonObject:
    capabilities = dict.fromkeys([*implied, *texts(request, "capabilities")])
    count, ids = request.get("count"), items(request, "device_ids")
    found: JsonObject = {
        "Driver": text(request, "driver"),
        "Capabilities": [[*capabilities]],
        "Options": {key: str(value) for key, value in mapping(request, "options").items()},
    }
    if ids:
        found["DeviceIDs"] = [*ids]
    else:
        found["Count"] = -1 if count in {None, "all"} else _whole(count)
    return found
