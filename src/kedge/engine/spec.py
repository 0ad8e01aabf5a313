"""The OCI runtime specification of one container, from its record: pure, nothing is read or made.

`SpecInput` carries everything that had to be looked up first (the user's ids, the bind sources,
the files of the network). The defaults are Docker's (`kedge.engine.defaults`). The seccomp
profile travels as an annotation, because the shim keeps compiled profiles warm and the engine
never imports the runtime.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.engine import defaults
from kedge.engine.devices import NO_DEVICES, DevicePlan
from kedge.engine.idmaps import IdMap
from kedge.engine.security import SecurityOptions
from kedge.engine.tmpfs import DEFAULTS as TMPFS_DEFAULTS
from kedge.engine.tmpfs import parse_tmpfs_options
from kedge.engine.userns import NO_MAPS, IdMaps, mappings_json, to_host
from kedge.engine.users import ResolvedUser
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.confinement import MASKED_PATHS, READONLY_PATHS

SECCOMP_ANNOTATION: Final = "org.kedge.seccomp"
# The kernel's RLIM_INFINITY is all ones, and Docker's -1 stands for it.
_UNLIMITED: Final = 1 << 64
_SHM: Final = "/dev/shm"  # noqa: S108 - a path in the container


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """A host file or folder, or another file system, shown in the container."""

    source: str
    destination: str
    options: tuple[str, ...] = ("rbind", "rprivate")
    kind: str = "bind"
    id_map: IdMap | None = None
    own: bool = False
    """Kept by the engine, with the container's ids; what is the host's keeps the host's ids."""

    def as_json(self, maps: IdMaps | None) -> JsonObject:
        """Return the entry of the runtime specification for a container with ``maps``."""
        mapped = ("idmap",) if self.own and maps is not None else ()
        entry = _mount(self.destination, self.kind, self.source, *self.options, *mapped)
        if self.id_map is not None:
            uids, gids = maps or NO_MAPS
            entry["uidMappings"] = mappings_json(to_host(self.id_map.uids, uids))
            entry["gidMappings"] = mappings_json(to_host(self.id_map.gids, gids))
        return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecInput:
    """What `make_spec` needs besides the container's own configuration."""

    container_id: str
    config: ContainerConfig
    host_config: HostConfig
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: ResolvedUser
    security: SecurityOptions
    cgroup_path: str
    binds: tuple[BindMount, ...] = ()
    network_namespace: str | None = ""
    """Path to join, ``""`` for a new one, None for the host's."""
    ipc_namespace: str | None = ""
    pid_namespace: str | None = ""
    cgroup_v2: bool = False
    devices: DevicePlan = NO_DEVICES
    block_io: JsonObject = field(default_factory=dict[str, Json])
    """``resources.blockIO``."""
    hooks: JsonObject = field(default_factory=dict[str, Json])
    id_maps: IdMaps | None = None
    """Of the container's user namespace; None for the host's own."""
    user_namespace: str = ""
    """Path to join with ``id_maps``; empty for a new one."""


def make_spec(plan: SpecInput) -> JsonObject:
    """Return ``config.json`` for the bundle.

    Args:
        plan: The container and what was looked up for it; every path absolute.
    """
    host = plan.host_config
    privileged = host.privileged
    linux: JsonObject = {
        "namespaces": _namespaces(plan),
        "resources": {
            **make_resources(host, plan.block_io),
            "devices": _device_rules(host, plan.devices),
        },
        "devices": list[Json](plan.devices.nodes),
        "cgroupsPath": plan.cgroup_path,
        "sysctl": _sysctls(plan),
        "maskedPaths": list(_guarded(plan, host.masked_paths, MASKED_PATHS)),
        "readonlyPaths": list(_guarded(plan, host.readonly_paths, READONLY_PATHS)),
    }
    if plan.id_maps is not None:
        linux["uidMappings"] = mappings_json(plan.id_maps.uids)
        linux["gidMappings"] = mappings_json(plan.id_maps.gids)
    annotations: JsonObject = dict(host.annotations)
    if plan.security.seccomp_profile is not None:
        linux["seccomp"] = plan.security.seccomp_profile
    elif not plan.security.seccomp_unconfined and not privileged:
        annotations[SECCOMP_ANNOTATION] = "default"
    own_name = host.uts_mode != "host"
    return {
        "ociVersion": "1.3.0",
        "hostname": plan.config.hostname if own_name else "",
        "domainname": plan.config.domainname if own_name else "",
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "process": _process(plan),
        "mounts": _mounts(plan),
        "linux": linux,
        "annotations": annotations,
        "hooks": plan.hooks,
    }


def _guarded(plan: SpecInput, own: Sequence[str] | None, usual: Sequence[str]) -> Sequence[str]:
    """Return the paths to mask or protect: the container's own list, an empty one included."""
    if plan.host_config.privileged or plan.security.unmask_paths:
        return ()
    return usual if own is None else own


def _process(plan: SpecInput) -> JsonObject:
    host = plan.host_config
    capabilities = list(plan.security.capabilities)
    # A process that is not root gets no effective set, as with execve from root to a user.
    effective = capabilities if plan.user.uid == 0 else []
    process: JsonObject = {
        "terminal": plan.config.tty,
        "user": plan.user.as_json(),
        "args": list(plan.args),
        "env": list(plan.env),
        "cwd": plan.cwd,
        "capabilities": {
            "bounding": list[Json](capabilities),
            "effective": list[Json](effective),
            "permitted": list[Json](effective),
        },
        "noNewPrivileges": plan.security.no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
        "rlimits": make_rlimits(host),
    }
    if plan.security.apparmor_profile:
        process["apparmorProfile"] = plan.security.apparmor_profile
    return process


def make_rlimits(host: HostConfig) -> list[Json]:
    """Return the limits of every process of a container; -1 is unlimited."""
    return [
        {
            "type": f"RLIMIT_{limit.name.upper()}",
            "soft": limit.soft % _UNLIMITED,
            "hard": limit.hard % _UNLIMITED,
        }
        for limit in host.ulimits
    ]


def _namespaces(plan: SpecInput) -> list[Json]:
    kinds: list[tuple[str, str | None]] = [
        ("mount", ""),
        ("uts", None if plan.host_config.uts_mode == "host" else ""),
        ("pid", plan.pid_namespace),
        ("ipc", plan.ipc_namespace),
        ("network", plan.network_namespace),
    ]
    # Docker's default: private on v2, the host's on v1.
    cgroup_mode = plan.host_config.cgroupns_mode or ("private" if plan.cgroup_v2 else "host")
    if cgroup_mode == "private":
        kinds.append(("cgroup", ""))
    if plan.id_maps is not None:
        kinds.append(("user", plan.user_namespace))
    namespaces: list[Json] = []
    for kind, path in kinds:
        if path is not None:
            namespaces.append({"type": kind, "path": path} if path else {"type": kind})
    return namespaces


def _mounts(plan: SpecInput) -> list[Json]:
    host = plan.host_config
    system_ro = "rw" if host.privileged else "ro"
    shm_size = host.shm_size or defaults.SHM_SIZE_BYTES
    mounts: list[JsonObject] = [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts",
            "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
        ),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", system_ro),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", system_ro, "nosuid", "noexec", "nodev"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    ]  # fmt: skip
    if plan.ipc_namespace == "" and host.ipc_mode != "none":
        mounts.append(
            _mount(
                _SHM, "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_size}"
            )
        )
    for destination, options in host.tmpfs.items():
        chosen = parse_tmpfs_options(options)
        mounts.append(_mount(destination, "tmpfs", "tmpfs", *TMPFS_DEFAULTS, *chosen))
    mounts.extend(bind.as_json(plan.id_maps) for bind in plan.binds)
    # Parents before children, else a later mount hides an earlier one.
    mounts.sort(key=lambda mount: str(mount["destination"]).rstrip("/").count("/"))
    return list[Json](mounts)


def _mount(destination: str, kind: str, source: str, *options: str) -> JsonObject:
    return {
        "destination": destination,
        "type": kind,
        "source": source,
        "options": list[Json](options),
    }


def _sysctls(plan: SpecInput) -> JsonObject:
    sysctls: JsonObject = {}
    if plan.network_namespace == "":
        # Docker lets every user open low ports and ping inside a network namespace of its own.
        sysctls["net.ipv4.ip_unprivileged_port_start"] = "0"
        # The kernel refuses a range with a group that the user namespace does not have.
        gids = plan.id_maps.gids if plan.id_maps is not None else ()
        last = sum(each.size for each in gids) - 1 if gids else 2147483647
        sysctls["net.ipv4.ping_group_range"] = f"0 {min(last, 2147483647)}"
    sysctls.update(plan.host_config.sysctls)
    return sysctls


def make_resources(host: HostConfig, block_io: JsonObject) -> JsonObject:
    """Return the limits in ``host`` as ``linux.resources``, without the devices.

    Args:
        host: The limits.
        block_io: What `kedge.engine.devices.plan_block_io` made of the block devices.
    """
    memory: JsonObject = {}
    if host.memory:
        memory["limit"] = host.memory
        # Docker: without --memory-swap, swap may take as much again.
        memory["swap"] = host.memory_swap or host.memory * 2
    if host.memory_reservation:
        memory["reservation"] = host.memory_reservation
    if host.memory_swappiness is not None and host.memory_swappiness >= 0:
        memory["swappiness"] = host.memory_swappiness
    if host.oom_kill_disable:
        memory["disableOOMKiller"] = True
    resources: JsonObject = {}
    if memory:
        resources["memory"] = memory
    cpu = _cpu(host)
    if cpu:
        resources["cpu"] = cpu
    if host.pids_limit is not None and host.pids_limit != 0:
        resources["pids"] = {"limit": host.pids_limit}
    if block_io:
        resources["blockIO"] = block_io
    return resources


def _cpu(host: HostConfig) -> JsonObject:
    cpu: JsonObject = {}
    if host.nano_cpus:
        cpu["period"] = 100_000
        cpu["quota"] = host.nano_cpus * 100_000 // 1_000_000_000
    if host.cpu_period:
        cpu["period"] = host.cpu_period
    if host.cpu_quota:
        cpu["quota"] = host.cpu_quota
    if host.cpu_shares:
        cpu["shares"] = host.cpu_shares
    if host.cpu_realtime_period:
        cpu["realtimePeriod"] = host.cpu_realtime_period
    if host.cpu_realtime_runtime:
        cpu["realtimeRuntime"] = host.cpu_realtime_runtime
    if host.cpuset_cpus:
        cpu["cpus"] = host.cpuset_cpus
    if host.cpuset_mems:
        cpu["mems"] = host.cpuset_mems
    return cpu


def _device_rules(host: HostConfig, plan: DevicePlan) -> list[Json]:
    if host.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[Json] = [{"allow": False, "access": "rwm"}]
    for kind, major, minor, access in defaults.DEVICE_RULES:
        rule: JsonObject = {"allow": True, "type": kind, "access": access}
        if major >= 0:
            rule["major"] = major
        if minor >= 0:
            rule["minor"] = minor
        rules.append(rule)
    rules.extend(plan.rules)
    return rules
