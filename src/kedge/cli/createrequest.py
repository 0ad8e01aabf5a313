"""The create request of ``run`` and ``create``, from their flags. Reads files, talks to nobody.

Field names are those of the Engine API's ContainerConfig and HostConfig. Flags that were not
given are left out, so the image's and the engine's defaults hold.
"""

from __future__ import annotations

import os

from kedge.cli.config import proxy_environment
from kedge.cli.flags import Options, UsageError
from kedge.cli.options import environment, networks, ports, values
from kedge.cli.options.mounts import parse_mount
from kedge.cli.options.ulimits import parse_ulimit
from kedge.cli.options.volumes import sort_volumes
from kedge.client.securityoptions import security_options
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


HOST_CERTS_ANNOTATION: Final = "org.kedge.host-certs"

_CONFIG_TEXTS: Final = {
    "hostname": "Hostname",
    "domainname": "Domainname",
    "user": "User",
    "workdir": "WorkingDir",
    "stop-signal": "StopSignal",
}
_HOST_TEXTS: Final = {
    "cgroup-parent": "CgroupParent",
    "cgroupns": "CgroupnsMode",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "ipc": "IpcMode",
    "pid": "PidMode",
    "runtime": "Runtime",
    "userns": "UsernsMode",
    "uts": "UTSMode",
    "volume-driver": "VolumeDriver",
}
_HOST_LISTS: Final = {
    "dns": "Dns",
    "dns-option": "DnsOptions",
    "dns-search": "DnsSearch",
    "group-add": "GroupAdd",
    "link": "Links",
    "volumes-from": "VolumesFrom",
    "device-cgroup-rule": "DeviceCgroupRules",
}
_DEVICE_LIMITS: Final = (
    *("blkio-weight-device", "device-read-bps", "device-read-iops", "device-write-bps"),
    "device-write-iops",
)
_HOST_SWITCHES: Final = {
    "init": "Init",
    "oom-kill-disable": "OomKillDisable",
    "privileged": "Privileged",
    "publish-all": "PublishAllPorts",
    "read-only": "ReadonlyRootfs",
    "rm": "AutoRemove",
}
_HOST_NUMBERS: Final[dict[str, tuple[str, Callable[[str], int]]]] = {
    "blkio-weight": ("BlkioWeight", int),
    "cpu-period": ("CpuPeriod", int),
    "cpu-quota": ("CpuQuota", int),
    "cpu-rt-period": ("CpuRealtimePeriod", int),
    "cpu-rt-runtime": ("CpuRealtimeRuntime", int),
    "cpu-shares": ("CpuShares", int),
    "cpus": ("NanoCpus", values.parse_cpus),
    "kernel-memory": ("KernelMemory", values.parse_size),
    "memory": ("Memory", values.parse_size),
    "memory-reservation": ("MemoryReservation", values.parse_size),
    "memory-swap": ("MemorySwap", values.parse_memory_swap),
    "memory-swappiness": ("MemorySwappiness", int),
    "oom-score-adj": ("OomScoreAdj", int),
    "pids-limit": ("PidsLimit", int),
    "shm-size": ("ShmSize", values.parse_size),
}
_DURATIONS: Final = {
    "health-interval": "Interval",
    "health-timeout": "Timeout",
    "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}


def build_create_request(options: Options, environ: Mapping[str, str]) -> JsonObject:
    """Return the body of ``POST /containers/create``.

    Args:
        options: Flags; the first word is the image, the rest the command.
        environ: Where ``-e NAME`` takes its value from.

    Raises:
        InvalidParameterError: Flags that are malformed or contradict each other.
    """
    _check_conflicts(options)
    exposed, bindings = ports.merge(options.texts("publish"), options.texts("expose"))
    binds, anonymous = sort_volumes(options.texts("volume"), os.getcwd())
    request = _config(options, environ)
    if exposed:
        request["ExposedPorts"] = {port: {} for port in exposed}
    if anonymous:
        request["Volumes"] = {target: {} for target in anonymous}
    host = _host_config(options)
    if binds:
        host["Binds"] = [*binds]
    if bindings:
        host["PortBindings"] = {
            port: [{"HostIp": m.host_ip, "HostPort": m.host_port} for m in mappings]
            for port, mappings in bindings.items()
        }
    request["HostConfig"] = host
    found = networks.endpoints(options)
    if found:
        request["NetworkingConfig"] = {"EndpointsConfig": found}
    return request


def update_fields(options: Options, names: Collection[str]) -> JsonObject:
    """Return the body of ``POST /containers/{id}/update``: those of ``names`` that were given."""
    fields: JsonObject = {
        field: options.text(name)
        for name, field in _HOST_TEXTS.items()
        if name in names and options.given(name)
    }
    fields |= {
        field: convert(options.text(name))
        for name, (field, convert) in _HOST_NUMBERS.items()
        if name in names and options.given(name)
    }
    if options.given("restart"):
        fields["RestartPolicy"] = values.parse_restart(options.text("restart"))
    return fields


def attached_streams(options: Options) -> tuple[bool, bool, bool]:
    """Return whether stdin, stdout and stderr are attached."""
    chosen = {values.parse_attach(name) for name in options.texts("attach")}
    if not chosen:
        return options.on("interactive"), True, True
    return "stdin" in chosen, "stdout" in chosen, "stderr" in chosen


def _check_conflicts(options: Options) -> None:
    restart = options.text("restart")
    if options.on("rm") and restart not in {"", "no"}:
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    for flag, what in (("pid", "PID"), ("uts", "UTS"), ("userns", "USER")):
        mode = options.text(flag)
        is_container = mode.startswith("container:") and flag == "pid" and mode != "container:"
        if mode not in {"", "host"} and not is_container:
            raise UsageError(f"--{flag}: invalid {what} mode")
    if options.text("log-driver") == "none" and options.given("log-opt"):
        raise UsageError("invalid logging opts for driver none")
    if options.on("no-healthcheck") and any(
        options.given(name) for name in ("health-cmd", "health-retries", *_DURATIONS)
    ):
        raise UsageError("--no-healthcheck conflicts with --health-* options")


def _config(options: Options, environ: Mapping[str, str]) -> JsonObject:
    image, *command = options.words
    stdin, stdout, stderr = attached_streams(options)
    request: JsonObject = {
        "Image": image,
        "Tty": options.on("tty"),
        "OpenStdin": options.on("interactive"),
        # With a client attached, the end of its input is the end of the container's.
        "StdinOnce": options.on("interactive") and stdin and not _is_detached(options),
        "AttachStdin": stdin,
        "AttachStdout": stdout,
        "AttachStderr": stderr,
    }
    if command:
        request["Cmd"] = [*command]
    if options.given("entrypoint"):
        # An empty one takes the image's away.
        request["Entrypoint"] = [options.text("entrypoint")]
    request |= {
        field: options.text(name) for name, field in _CONFIG_TEXTS.items() if options.given(name)
    }
    lookup = environ.get
    env = [environment.parse_env(text, lookup) for text in options.texts("env")]
    env += proxy_environment(env)
    env = environment.read_key_values(options.texts("env-file"), env, lookup)
    if env:
        request["Env"] = [*env]
    labels = environment.read_key_values(options.texts("label-file"), options.texts("label"), None)
    if labels:
        request["Labels"] = {**environment.to_map(labels)}
    if options.given("stop-timeout"):
        request["StopTimeout"] = options.integer("stop-timeout")
    health = _health(options)
    if health:
        request["Healthcheck"] = health
    return request


def _is_detached(options: Options) -> bool:
    return options.given("detach") and options.on("detach")


def _health(options: Options) -> JsonObject:
    if options.on("no-healthcheck"):
        return {"Test": ["NONE"]}
    health: JsonObject = {
        field: values.parse_health_duration(options.text(name))
        for name, field in _DURATIONS.items()
        if options.given(name)
    }
    if options.given("health-retries"):
        health["Retries"] = options.integer("health-retries")
    if options.text("health-cmd"):
        health["Test"] = ["CMD-SHELL", options.text("health-cmd")]
    return health


def _host_config(options: Options) -> JsonObject:
    host: JsonObject = {"NetworkMode": networks.network_mode(options.texts("network"))}
    host |= {
        field: options.text(name) for name, field in _HOST_TEXTS.items() if options.given(name)
    }
    host |= {
        field: [*options.texts(name)] for name, field in _HOST_LISTS.items() if options.given(name)
    }
    host |= {field: True for name, field in _HOST_SWITCHES.items() if options.on(name)}
    host |= {
        field: convert(options.text(name))
        for name, (field, convert) in _HOST_NUMBERS.items()
        if options.given(name)
    }
    if options.given("restart"):
        host["RestartPolicy"] = values.parse_restart(options.text("restart"))
    if options.given("add-host"):
        host["ExtraHosts"] = [values.parse_extra_host(text) for text in options.texts("add-host")]
    add, drop = values.effective_capabilities(options.texts("cap-add"), options.texts("cap-drop"))
    host |= {name: [*found] for name, found in (("CapAdd", add), ("CapDrop", drop)) if found}
    if options.given("mount"):
        host["Mounts"] = [parse_mount(text) for text in options.texts("mount")]
    if options.given("tmpfs"):
        host["Tmpfs"] = {
            path: how for path, _, how in (text.partition(":") for text in options.texts("tmpfs"))
        }
    if options.given("ulimit"):
        limits = [parse_ulimit(text) for text in options.texts("ulimit")]
        host["Ulimits"] = [{"Name": x.name, "Soft": x.soft, "Hard": x.hard} for x in limits]
    for name, field in (("sysctl", "Sysctls"), ("storage-opt", "StorageOpt")):
        if options.given(name):
            host[field] = {**environment.to_map(options.texts(name))}
    _add_devices(host, options)
    _add_logging(host, options)
    _add_annotations(host, options)
    host |= security_options(options.texts("security-opt"))
    return host


def _add_devices(host: JsonObject, options: Options) -> None:
    cdi: list[Json] = [text for text in options.texts("device") if values.is_cdi_device(text)]
    paths = [text for text in options.texts("device") if text not in cdi]
    if paths:
        host["Devices"] = [values.parse_device(text) for text in paths]
    requests: list[Json] = [{"Driver": "cdi", "DeviceIDs": cdi}] if cdi else []
    if options.given("gpus"):
        from kedge.cli.options.devices import parse_gpus  # noqa: PLC0415 - rarely needed

        requests.append(parse_gpus(options.text("gpus")))
    if requests:
        host["DeviceRequests"] = requests
    for name in _DEVICE_LIMITS:
        if options.given(name):
            from kedge.cli.options.devices import parse_all  # noqa: PLC0415 - rarely needed

            field, entries = parse_all(name, options.texts(name))
            host[field] = entries


def _add_logging(host: JsonObject, options: Options) -> None:
    if options.given("log-driver") or options.given("log-opt"):
        host["LogConfig"] = {
            "Type": options.text("log-driver"),
            "Config": {**environment.to_map(options.texts("log-opt"))},
        }


def _add_annotations(host: JsonObject, options: Options) -> None:
    annotations: JsonObject = {**environment.to_map(options.texts("annotation"))}
    if options.on("host-certs"):
        annotations[HOST_CERTS_ANNOTATION] = "true"
    if annotations:
        host["Annotations"] = annotations
