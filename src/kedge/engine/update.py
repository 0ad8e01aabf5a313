"""``docker update``: new limits for a container, all of them or none.

Order: the request is checked together with what the container has; a running container's cgroup
takes the new values; then the record is written. Whatever fails, the old values are written back,
because the kernel may have taken some before it refused one.
"""

import contextlib
from typing import Final

import msgspec

from kedge.api.types.config import HostConfig
from kedge.api.types.container import UpdateRequest
from kedge.engine.containers import Container
from kedge.engine.devices import plan_block_io
from kedge.engine.kernelfacts import read_facts
from kedge.engine.limits import check_limits
from kedge.engine.restartpolicy import check_restart_policy, refuse_policy_of_removed
from kedge.engine.spec import make_resources
from kedge.engine.state import Status
from kedge.errdefs import ConflictError, InvalidParameterError, KedgeError, NotSupportedError
from kedge.lib.jsontypes import Json, JsonObject

UPDATABLE: Final = (
    "cpu_shares", "memory", "nano_cpus", "blkio_weight", "cpu_period", "cpu_quota", "cpuset_cpus",
    "cpuset_mems", "cpu_realtime_period", "cpu_realtime_runtime", "memory_reservation",
    "memory_swap", "pids_limit",
)  # fmt: skip
# Fields that the same request type carries, and that only a new container can get.
_FIXED: Final = {
    "cgroup_parent": "--cgroup-parent",
    "blkio_weight_device": "--blkio-weight-device",
    "blkio_device_read_bps": "--device-read-bps",
    "blkio_device_write_bps": "--device-write-bps",
    "blkio_device_read_iops": "--device-read-iops",
    "blkio_device_write_iops": "--device-write-iops",
    "devices": "--device",
    "device_cgroup_rules": "--device-cgroup-rule",
    "device_requests": "--gpus",
    "memory_swappiness": "--memory-swappiness",
    "oom_kill_disable": "--oom-kill-disable",
    "ulimits": "--ulimit",
}


async def update_container(container: Container, request: UpdateRequest) -> list[str]:
    """Change the limits that ``request`` names; return Docker's warnings.

    Raises:
        ConflictError: The container is being removed.
        KedgeError: A value was refused, here or by the kernel; everything is as before.
    """
    async with container.held() as record:
        if record.status in {Status.REMOVING, Status.DEAD}:
            raise ConflictError(
                f"Cannot update container {record.id}: container is marked for removal and "
                'cannot be "update"'
            )
        before = record.host_config
        wanted, warnings = merge_limits(before, request)
        running = container.shim if record.alive else None
        try:
            if running is not None:
                await running.update(make_resources(wanted, plan_block_io(wanted)))
            record.host_config = wanted
            container.save(durable=True)
        except KedgeError as error:
            record.host_config = before
            if running is not None:
                with contextlib.suppress(KedgeError):
                    await running.update(_restoring(before))
            raise type(error)(f"Cannot update container {record.id}: {error}") from error
    return warnings


def merge_limits(host: HostConfig, request: UpdateRequest) -> tuple[HostConfig, list[str]]:
    """Return ``host`` with the limits of ``request``, and Docker's warnings.

    Raises:
        InvalidParameterError: A value out of range or against one that is set, in Docker's words.
        NotSupportedError: A field that cannot be changed.
    """
    for field, flag in _FIXED.items():
        if getattr(request, field) not in (None, "", [], False):
            raise NotSupportedError(f"{flag} cannot be changed by an update: make a new container")
    _check_conflicts(host, request)
    warnings = check_limits(request, read_facts(), update=True)
    changed = {
        field: value
        for field in UPDATABLE
        if (value := getattr(request, field)) not in (0, "", None)
    }
    if request.restart_policy.name:
        check_restart_policy(request.restart_policy, auto_remove=False)
        refuse_policy_of_removed(host, request.restart_policy)
        changed["restart_policy"] = request.restart_policy
    if request.pids_limit == 0:
        changed["pids_limit"] = -1
    if "memory" in changed and not request.memory_swap and 0 < host.memory_swap < request.memory:
        raise InvalidParameterError(
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time"
        )
    if "nano_cpus" in changed:
        changed["cpu_period"] = changed["cpu_quota"] = 0
    wanted = msgspec.structs.replace(host, **changed)
    if wanted.memory > 0 and not wanted.memory_swap:
        wanted.memory_swap = wanted.memory * 2
    check_limits(wanted, read_facts(), update=True)
    return wanted, warnings


def _check_conflicts(host: HostConfig, request: UpdateRequest) -> None:
    for field, name in (("cpu_period", "CPU Period"), ("cpu_quota", "CPU Quota")):
        if getattr(request, field) > 0 and host.nano_cpus > 0:
            raise InvalidParameterError(
                f"Conflicting options: {name} cannot be updated as NanoCPUs has already been set"
            )
        if request.nano_cpus > 0 and getattr(host, field) > 0:
            raise InvalidParameterError(
                f"Conflicting options: Nano CPUs cannot be updated as {name} has already been set"
            )


def _restoring(host: HostConfig) -> JsonObject:
    """Return resources that take back whatever an update may have set: no limit is said, too."""
    memory: JsonObject = {"limit": -1, "swap": -1}
    cpu: JsonObject = {"shares": 1024, "period": 100_000, "quota": -1}
    asked = make_resources(host, plan_block_io(host))
    resources: JsonObject = {"pids": {"limit": -1}, **asked}
    for name, unlimited in (("memory", memory), ("cpu", cpu)):
        own: Json = asked.get(name)
        resources[name] = {**unlimited, **(own if isinstance(own, dict) else {})}
    return resources
