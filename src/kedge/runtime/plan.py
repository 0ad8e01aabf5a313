"""From a spec to plans: everything that can be computed and refused before the fork."""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError, NotFoundError, NotSupportedError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.runtime_spec.types import Hooks
from kedge.runtime import devices, rootfs
from kedge.runtime.child import load_for_children
from kedge.runtime.init import InitPlan
from kedge.runtime.launch import Launch, plan_capabilities
from kedge.runtime.limits import plan_limits
from kedge.runtime.namespaces import NamespacePlan, host_ids, open_user_namespace
from kedge.runtime.seccomp.actions import filter_flags
from kedge.runtime.seccomp.cached import compile_profile, default_program
from kedge.runtime.seccomp_agent import check_listener

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.oci.mounts import Mount
    from kedge.oci.runtime_spec.types import Linux, Process, Spec
    from kedge.runtime.cgroups.protocol import Cgroup
    from kedge.runtime.rootfs import PlannedMount
    from kedge.runtime.scheduling import PlannedPolicy


SECCOMP_ANNOTATION: Final = "org.kedge.seccomp"
_APPARMOR: Final = "/sys/module/apparmor/parameters/enabled"
_SELINUX: Final = "/sys/fs/selinux/enforce"


def plan_launch(
    process: Process,
    spec: Spec,
    *,
    keyring: str,
    die_with_parent: bool,
    preserve_fds: int,
    seccomp_cache: str = "",
) -> Launch:
    """Return how ``process`` is executed in a container of ``spec``.

    Args:
        process: What to execute.
        spec: Where.
        keyring: Names the session keyring to join; empty for the caller's.
        die_with_parent: Kill the process when its parent dies.
        preserve_fds: How many descriptors from 3 on it keeps.
        seccomp_cache: Directory of compiled filters; empty for none.

    Raises:
        InvalidParameterError: Something in the process contradicts itself.
        NotSupportedError: It asks for what this host does not have.
    """
    if not os.path.isabs(process.cwd):
        raise InvalidParameterError(f"the working directory {process.cwd!r} must be absolute")
    _check_strings(process)
    _check_labels(process, spec.linux)
    _load_for_child(process, spec)
    program, flags = _plan_seccomp(spec, seccomp_cache)
    in_user_namespace = any(each.type == "user" for each in spec.linux.namespaces)
    return Launch(
        args=process.args,
        env=process.env,
        cwd=process.cwd,
        user=process.user,
        terminal=process.terminal,
        console_size=process.console_size,
        masks=plan_capabilities(process, in_user_namespace=in_user_namespace),
        limits=plan_limits(process.rlimits),
        no_new_privileges=process.no_new_privileges,
        oom_score_adj=process.oom_score_adj,
        apparmor_profile=process.apparmor_profile,
        seccomp=program,
        seccomp_flags=flags,
        keyring=f"_ses.{keyring}" if keyring else "",
        die_with_parent=die_with_parent,
        preserve_fds=preserve_fds,
        scheduler=process.scheduler,
        io_priority=process.io_priority,
        personality=spec.linux.personality,
        memory_policy=_plan_memory_policy(spec.linux),
    )


def _plan_seccomp(spec: Spec, cache_dir: str) -> tuple[bytes, int]:
    """Return the container's filter and its flags; every process of it gets the same.

    The annotation stands for Docker's default profile, which depends on the capabilities: so the
    engine need not know it, and the program is compiled once per set of capabilities.
    """
    profile = spec.linux.seccomp
    if profile is None:
        if spec.annotations.get(SECCOMP_ANNOTATION) != "default":
            return b"", 0
        process = spec.process
        held = process.capabilities if process is not None else None
        return default_program(held.bounding if held is not None else (), cache_dir=cache_dir), 0
    check_listener(profile)
    return compile_profile(profile, cache_dir=cache_dir), filter_flags(profile)


def _load_for_child(process: Process, spec: Spec) -> None:
    linux = spec.linux
    if spec.hooks != Hooks():
        load_for_children("json", "kedge.runtime.hooks")
    if process.terminal:
        load_for_children("kedge.linux.pty")
    if any(namespace.type == "user" for namespace in linux.namespaces):
        load_for_children("kedge.runtime.prepared")
    if any(namespace.type == "pid" and namespace.path for namespace in linux.namespaces):
        load_for_children("kedge.runtime.joined_pids")
    wishes = (process.scheduler, process.io_priority, linux.personality, linux.memory_policy)
    if wishes != (None, None, None, None):
        load_for_children("kedge.runtime.scheduling")


def _plan_memory_policy(linux: Linux) -> PlannedPolicy | None:
    if linux.memory_policy is None:
        return None
    from kedge.runtime.scheduling import plan_memory_policy  # noqa: PLC0415 - hardly ever used

    return plan_memory_policy(linux.memory_policy)


def _check_strings(process: Process) -> None:
    for kind, values in (("args", process.args), ("env", process.env)):
        for index, value in enumerate(values):
            if "\0" in value:
                raise InvalidParameterError(f"process.{kind}[{index}] contains a NUL character")


def _check_labels(process: Process, linux: Linux) -> None:
    if process.apparmor_profile and not os.path.exists(_APPARMOR):
        raise NotSupportedError(
            f"AppArmor profile {process.apparmor_profile}: this kernel has no AppArmor"
        )
    if process.selinux_label or linux.mount_label:
        where = "kedge does not set labels yet" if os.path.exists(_SELINUX) else "SELinux is off"
        raise NotSupportedError(f"an SELinux label is asked for, but {where}")


def plan_init(
    spec: Spec,
    launch: Launch,
    namespaces: NamespacePlan,
    *,
    bundle: str,
    root_mounts: Sequence[Mount],
    cgroup: Cgroup | None,
    stdio: tuple[int, int, int],
    listener: int,
    keep_host_root: bool,
) -> InitPlan:
    """Return what the child does for a container of ``spec``.

    Raises:
        InvalidParameterError: The spec contradicts itself.
        NotFoundError: The root file system does not exist.
        NotSupportedError: The spec asks for what kedge or this kernel does not do.
    """
    linux = spec.linux
    _check_linux(spec)
    if spec.root is None:
        raise InvalidParameterError("config.json.root is required")
    root = os.path.join(bundle, spec.root.path)
    if not os.path.isdir(root):
        raise NotFoundError(f"the root file system {root} is not a directory")
    mounts = _map_ids(rootfs.plan_mounts(spec.mounts, bundle), own_user_fd=namespaces.user_fd)
    return InitPlan(
        launch=launch,
        namespaces=namespaces,
        root=os.path.realpath(root),
        root_mounts=tuple(root_mounts),
        root_readonly=spec.root.readonly,
        root_propagation=linux.rootfs_propagation,
        mounts=mounts,
        devices=devices.all_devices(linux.devices),
        default_dev=not any(
            mount.kind == "bind" and os.path.normpath(mount.spec.destination) == "/dev"
            for mount in mounts
        ),
        masked_paths=linux.masked_paths,
        readonly_paths=linux.readonly_paths,
        sysctls=linux.sysctl,
        hostname=spec.hostname,
        domainname=spec.domainname,
        cgroup=cgroup,
        hooks=spec.hooks,
        time_offsets=_time_offsets(linux),
        stdio=stdio,
        listener=listener,
        keep_host_root=keep_host_root,
        root_ids=host_ids(linux.uid_mappings, linux.gid_mappings),
        wants_devices=bool(linux.net_devices),
    )


def _time_offsets(linux: Linux) -> str:
    """Return the lines for /proc/self/timens_offsets."""
    if linux.time_offsets and not _has_namespace(linux, "time"):
        raise InvalidParameterError("linux.timeOffsets needs a time namespace")
    for name in linux.time_offsets:
        if name not in ("monotonic", "boottime"):
            raise InvalidParameterError(f"linux.timeOffsets: unknown clock {name!r}")
    return "".join(
        f"{name} {offset.secs} {offset.nanosecs}\n" for name, offset in linux.time_offsets.items()
    )


def _map_ids(mounts: Sequence[PlannedMount], *, own_user_fd: int) -> tuple[PlannedMount, ...]:
    """Open a user namespace for every id-mapped mount, by default the container's own."""
    found: list[PlannedMount] = []
    for mount in mounts:
        own = bool(mount.spec.uid_mappings or mount.spec.gid_mappings)
        if not own and not mount.options.idmap:
            found.append(mount)
            continue
        spec = mount.spec
        mapped = spec.uid_mappings and spec.gid_mappings if own else own_user_fd >= 0
        if mount.kind == "overlay" and mapped and not own:
            # Its layers are mapped, by `kedge.runtime.prepared`; overlayfs itself cannot be.
            found.append(mount)
            continue
        if mount.kind != "bind" or not mapped:
            raise InvalidParameterError(
                f"the mount at {spec.destination} cannot be id-mapped: it needs to be a "
                f"bind mount, with uidMappings and gidMappings"
            )
        fd = (
            open_user_namespace(spec.uid_mappings, spec.gid_mappings)
            if own
            else os.dup(own_user_fd)
        )
        found.append(mount._replace(idmap_fd=fd))
    return tuple(found)


def _check_linux(spec: Spec) -> None:
    linux = spec.linux
    if linux.unsupported:
        raise NotSupportedError(f"linux.{linux.unsupported[0]} is not supported by kedge")
    if (spec.hostname or spec.domainname) and not _has_namespace(linux, "uts"):
        raise InvalidParameterError("hostname needs a uts namespace of the container's own")
    if linux.net_devices and not _has_namespace(linux, "network"):
        raise InvalidParameterError(
            "linux.netDevices needs a network namespace of the container's own"
        )
    _check_sysctls(linux)


# Names whose values belong to a namespace; anything else would change the host.
_UTS_SYSCTLS: Final = frozenset(("kernel.domainname", "kernel.hostname"))
_IPC_SYSCTLS: Final = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)


def _check_sysctls(linux: Linux) -> None:
    for name in linux.sysctl:
        dotted = name.replace("/", ".")
        if ".." in dotted:
            raise InvalidParameterError(f"{name!r} is no name of a sysctl")
        if dotted.startswith("net."):
            kind = "network"
        elif dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            kind = "ipc"
        elif dotted in _UTS_SYSCTLS:
            kind = "uts"
        else:
            raise InvalidParameterError(f"sysctl {name} is not in a separate kernel namespace")
        if not _has_namespace(linux, kind):
            raise InvalidParameterError(
                f"sysctl {name} needs a {kind} namespace of the container's own"
            )


def _has_namespace(linux: Linux, kind: str) -> bool:
    """Tell whether the container has its own, be it made here, by the caller, or joined."""
    return any(each.type == kind for each in linux.namespaces)
