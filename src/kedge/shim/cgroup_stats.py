"""A cgroup's counters as the shim sends them to the engine."""

from kedge.lib.jsontypes import Json, JsonObject
from kedge.runtime.cgroups import CgroupStats


def encode_stats(stats: CgroupStats) -> JsonObject:
    """Return ``stats`` as JSON, with the names `CgroupStats` has."""
    service_bytes: list[Json] = [entry._asdict() for entry in stats.io_service_bytes]
    serviced: list[Json] = [entry._asdict() for entry in stats.io_serviced]
    return {
        "version": stats.version,
        "cpu": stats.cpu._asdict(),
        "memory": stats.memory._asdict(),
        "pids": stats.pids._asdict(),
        "io_service_bytes": service_bytes,
        "io_serviced": serviced,
    }
