"""Checks of a create request that need nothing but the request: modes, sysctls, paths. Pure.

Docker's rules and texts: moby ``daemon/container.go``, ``runconfig/hostconfig_unix.go``. Limits are
in `kedge.engine.limits`, devices in `kedge.engine.devices`, mounts in `kedge.engine.mounts`.
"""

from typing import Final

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.errdefs import InvalidParameterError

# Names whose values belong to the IPC namespace; fs.mqueue.* is as well.
_IPC_SYSCTLS: Final = frozenset(
    (
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
        "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
    )
)  # fmt: skip
_UTS_SYSCTLS: Final = frozenset(("kernel.domainname",))


def check_modes(config: ContainerConfig, host: HostConfig) -> None:
    """Raise unless the namespace modes exist and agree with the rest.

    Args:
        config: As the client sent it: a host name in it was asked for.
        host: The modes.

    Raises:
        InvalidParameterError: With Docker's text.
    """
    for what, mode, known in (
        ("IPC mode", host.ipc_mode, {"", "private", "shareable", "none", "host"}),
        ("PID mode", host.pid_mode, {"", "private", "host"}),
    ):
        joined = mode.startswith("container:") and len(mode) > len("container:")
        if mode not in known and not joined:
            raise InvalidParameterError(f"invalid {what}: {mode}")
    if host.uts_mode not in {"", "host"}:
        raise InvalidParameterError(f"invalid UTS mode: {host.uts_mode}")
    if host.cgroupns_mode not in {"", "private", "host"}:
        raise InvalidParameterError(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if config.hostname and host.uts_mode == "host":
        raise InvalidParameterError("conflicting options: hostname and the UTS mode")
    if config.domainname and host.uts_mode == "host":
        raise InvalidParameterError("conflicting options: domainname and the UTS mode")
    if host.isolation not in {"", "default"}:
        raise InvalidParameterError(f'invalid isolation "{host.isolation}" on linux')


def check_network_mode(config: ContainerConfig, host: HostConfig) -> None:
    """Raise for what a container that has another's network, or the host's, cannot have for itself.

    Args:
        config: As the client sent it: the ports in it are not the image's.
        host: The mode and the rest.

    Raises:
        InvalidParameterError: With Docker's text.
    """
    joined, target = host.network_mode.partition(":")[::2]
    if joined == "container" and not target:
        raise InvalidParameterError(
            "invalid network mode: invalid container format container:<name|id>"
        )
    shares, is_host = bool(target) and joined == "container", host.network_mode == "host"
    behaviour = "can't be used with links. This would result in undefined behavior"
    for is_conflict, what in (
        (shares and config.hostname, "hostname and the network mode"),
        (shares and host.links, f"container type network {behaviour}"),
        (shares and host.dns, "dns and the network mode"),
        (shares and host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        ((shares or is_host) and config.mac_address, "mac-address and the network mode"),
        (
            shares and (host.port_bindings or host.publish_all_ports),
            "port publishing and the container type network mode",
        ),
        (
            shares and config.exposed_ports,
            "port exposing and the container type network mode",
        ),
        (is_host and host.links, f"host type networking {behaviour}"),
    ):
        if is_conflict:
            raise InvalidParameterError(f"conflicting options: {what}")


def check_process(config: ContainerConfig, host: HostConfig) -> None:
    """Raise unless environment, folder and annotations are well formed."""
    for item in config.env:
        if not item or item.startswith("="):
            raise InvalidParameterError(f"invalid environment variable: {item}")
        if "\0" in item:
            name = item.partition("=")[0]
            raise InvalidParameterError(f"invalid environment variable: {name} has a NUL character")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameterError(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an "
            "absolute path"
        )
    if "" in host.annotations:
        raise InvalidParameterError(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )


def check_sysctls(host: HostConfig) -> None:
    """Raise for a kernel parameter that is not the container's own."""
    for name in host.sysctls:
        dotted = name.replace("/", ".")
        if dotted.startswith("net."):
            if host.network_mode == "host":
                raise InvalidParameterError(
                    f'sysctl "{name}" not allowed in host network namespace'
                )
        elif dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            if host.ipc_mode == "host":
                raise InvalidParameterError(f'sysctl "{name}" not allowed in host ipc namespace')
        elif dotted in _UTS_SYSCTLS:
            if host.uts_mode == "host":
                raise InvalidParameterError(f'sysctl "{name}" not allowed in host uts namespace')
        else:
            raise InvalidParameterError(
                f'sysctl "{name}" is not in a separate kernel namespace: it would change the host'
            )


_TMPFS_FLAGS: Final = frozenset(
    (
        "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync",
        "remount", "mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "bind", "rbind",
        "unbindable", "runbindable", "private", "rprivate", "shared", "rshared", "slave", "rslave",
        "relatime", "norelatime", "strictatime", "nostrictatime", "defaults",
    )
)  # fmt: skip
_TMPFS_VALUES: Final = frozenset(("mode", "uid", "gid", "nr_inodes", "nr_blocks", "size", "mpol"))


def check_tmpfs(host: HostConfig) -> None:
    """Raise unless each ``--tmpfs`` names an absolute path and options tmpfs has."""
    for destination, options in host.tmpfs.items():
        if not destination.startswith("/"):
            raise InvalidParameterError(
                f"invalid mount path: '{destination}' mount path must be absolute"
            )
        if destination.strip("/") == "":
            raise InvalidParameterError("invalid specification: destination can't be '/'")
        for option in options.split(",") if options else ():
            key, separator, value = option.partition("=")
            known = key in _TMPFS_VALUES and value if separator else key in _TMPFS_FLAGS
            if not known:
                raise InvalidParameterError(f'Invalid tmpfs option ["{option}"]')


def check_cgroup_parent(parent: str) -> None:
    """Raise for a parent that would lead out of the hierarchy or belongs to systemd."""
    if parent.endswith(".slice"):
        raise InvalidParameterError(
            f"cgroup-parent {parent}: slices belong to the systemd cgroup driver, this engine "
            "uses cgroupfs: give a path such as /team"
        )
    if ".." in parent.split("/") or "\0" in parent:
        raise InvalidParameterError(f"invalid cgroup-parent {parent}: it must not contain ..")


def check_storage(options: dict[str, str]) -> None:
    """Raise for every ``--storage-opt``: no storage of this engine's takes one."""
    for name in options:
        if name.lower() != "size":
            raise InvalidParameterError(f"Unknown option {name}")
        raise InvalidParameterError(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option: "
            "kedge sets no quotas, leave it out"
        )
