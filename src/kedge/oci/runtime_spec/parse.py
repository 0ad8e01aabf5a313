"""Parsing a whole `config.json`, as strictly as the specification's JSON Schema.

Unknown fields are ignored, as the specification's extensibility rule demands. Device file modes
may carry type bits, because podman and crictl pass ``st_mode`` through; they are masked off.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.runtime_spec.fields import INT32, INT64, UINT32, UINT64, Fields
from kedge.oci.runtime_spec.types import (
    Capabilities,
    ConsoleSize,
    CpuAffinity,
    Device,
    Hook,
    Hooks,
    IdMapping,
    IoPriority,
    Linux,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Personality,
    Process,
    Rlimit,
    Root,
    Scheduler,
    Spec,
    SpecMount,
    TimeOffset,
    User,
)
from kedge.oci.runtime_spec_resources import Resources, parse_resources
from kedge.oci.runtime_spec_seccomp import parse_seccomp

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


NAMESPACE_TYPES: Final = frozenset(
    ("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time")
)
_PROPAGATION: Final = frozenset(
    ("private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable")
)
_IO_CLASSES: Final = frozenset(("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"))
_POLICIES: Final = frozenset(
    f"SCHED_{name}" for name in ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE")
)
_SCHEDULER_FLAGS: Final = frozenset(
    f"SCHED_FLAG_{name}"
    for name in (
        "RESET_ON_FORK",
        "RECLAIM",
        "DL_OVERRUN",
        "KEEP_POLICY",
        "KEEP_PARAMS",
        "UTIL_CLAMP_MIN",
        "UTIL_CLAMP_MAX",
    )
)
_DOMAINS: Final = frozenset(("LINUX", "LINUX32"))
_DEVICE_TYPES: Final = frozenset("cbup")
# https://semver.org/spec/v2.0.0.html, which the specification demands
_SEMVER_WORD: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-")
_UNSUPPORTED: Final = ("intelRdt",)
_MEMORY_MODES: Final = frozenset(
    f"MPOL_{name}"
    for name in (
        "DEFAULT",
        "BIND",
        "INTERLEAVE",
        "WEIGHTED_INTERLEAVE",
        "PREFERRED",
        "PREFERRED_MANY",
        "LOCAL",
    )
)
_MEMORY_FLAGS: Final = frozenset(
    f"MPOL_F_{name}" for name in ("NUMA_BALANCING", "RELATIVE_NODES", "STATIC_NODES")
)
_IFNAMSIZ: Final = 16


def _id_mapping(fields: Fields) -> IdMapping:
    return IdMapping(
        container_id=fields.required_integer("containerID", UINT32),
        host_id=fields.required_integer("hostID", UINT32),
        size=fields.required_integer("size", UINT32),
    )


def _mount(fields: Fields) -> SpecMount:
    return SpecMount(
        destination=fields.required_string("destination"),
        type=fields.string("type"),
        source=fields.string("source"),
        options=fields.strings("options"),
        uid_mappings=fields.array("uidMappings", _id_mapping),
        gid_mappings=fields.array("gidMappings", _id_mapping),
    )


def _user(fields: Fields) -> User:
    return User(
        uid=fields.integer("uid", UINT32),
        gid=fields.integer("gid", UINT32),
        umask=fields.optional_integer("umask", UINT32),
        additional_gids=fields.integers("additionalGids", UINT32),
    )


def _capabilities(fields: Fields) -> Capabilities:
    return Capabilities(
        bounding=fields.strings("bounding"),
        effective=fields.strings("effective"),
        inheritable=fields.strings("inheritable"),
        permitted=fields.strings("permitted"),
        ambient=fields.strings("ambient"),
    )


def _rlimit(fields: Fields) -> Rlimit:
    name = fields.required_string("type")
    suffix = name.removeprefix("RLIMIT_")
    if suffix == name or not (suffix.isascii() and suffix.isalpha() and suffix.isupper()):
        raise InvalidParameterError(
            f"{fields.at('type')}: {name!r} is no limit such as RLIMIT_NOFILE"
        )
    return Rlimit(
        type=name,
        soft=fields.required_integer("soft", UINT64),
        hard=fields.required_integer("hard", UINT64),
    )


def _scheduler(fields: Fields) -> Scheduler:
    return Scheduler(
        policy=fields.required_choice("policy", _POLICIES),
        nice=fields.integer("nice", INT32),
        priority=fields.integer("priority", INT32),
        flags=fields.choices("flags", _SCHEDULER_FLAGS),
        runtime=fields.integer("runtime", UINT64),
        deadline=fields.integer("deadline", UINT64),
        period=fields.integer("period", UINT64),
    )


def _cpu_affinity(fields: Fields) -> CpuAffinity:
    found = CpuAffinity(initial=fields.string("initial"), final=fields.string("final"))
    for name, value in zip(CpuAffinity._fields, found, strict=True):
        if not set(value) <= set("0123456789, -"):
            raise InvalidParameterError(f"{fields.at(name)}: {value!r} is no list of CPUs")
    return found


def _process(fields: Fields) -> Process:
    return Process(
        cwd=fields.required_string("cwd"),
        args=fields.strings("args"),
        env=fields.strings("env"),
        terminal=fields.boolean("terminal"),
        console_size=fields.nested(
            "consoleSize",
            lambda size: ConsoleSize(
                height=size.required_integer("height", UINT64),
                width=size.required_integer("width", UINT64),
            ),
        ),
        user=fields.nested("user", _user) or User(),
        capabilities=fields.nested("capabilities", _capabilities),
        rlimits=fields.array("rlimits", _rlimit),
        no_new_privileges=fields.boolean("noNewPrivileges"),
        oom_score_adj=fields.optional_integer("oomScoreAdj", (-1000, 1000)),
        apparmor_profile=fields.string("apparmorProfile"),
        selinux_label=fields.string("selinuxLabel"),
        io_priority=fields.nested(
            "ioPriority",
            lambda found: IoPriority(
                io_class=found.required_choice("class", _IO_CLASSES),
                priority=found.integer("priority", INT32),
            ),
        ),
        scheduler=fields.nested("scheduler", _scheduler),
        exec_cpu_affinity=fields.nested("execCPUAffinity", _cpu_affinity),
    )


def _namespace(fields: Fields) -> Namespace:
    return Namespace(
        type=fields.required_choice("type", NAMESPACE_TYPES), path=fields.string("path")
    )


def _device(fields: Fields) -> Device:
    mode = fields.optional_integer("fileMode", UINT32)
    return Device(
        type=fields.required_choice("type", _DEVICE_TYPES),
        path=fields.required_string("path"),
        major=fields.integer("major", INT64),
        minor=fields.integer("minor", INT64),
        file_mode=None if mode is None else mode & 0o7777,
        uid=fields.integer("uid", UINT32),
        gid=fields.integer("gid", UINT32),
    )


def _time_offset(fields: Fields) -> TimeOffset:
    return TimeOffset(
        secs=fields.integer("secs", INT64), nanosecs=fields.integer("nanosecs", UINT32)
    )


def _personality(fields: Fields) -> Personality:
    return Personality(
        domain=fields.required_choice("domain", _DOMAINS), flags=fields.strings("flags")
    )


def _memory_policy(fields: Fields) -> MemoryPolicy:
    nodes = fields.string("nodes")
    if not set(nodes) <= set("0123456789, -"):
        raise InvalidParameterError(f"{fields.at('nodes')}: {nodes!r} is no list such as 0-3,7")
    return MemoryPolicy(
        mode=fields.required_choice("mode", _MEMORY_MODES),
        nodes=nodes,
        flags=fields.choices("flags", _MEMORY_FLAGS),
    )


def _net_device(fields: Fields) -> NetDevice:
    name = fields.string("name")
    if name and not _is_interface_name(name.replace("%d", "0", 1)):
        raise InvalidParameterError(f"{fields.at('name')}: {name!r} is no name of an interface")
    return NetDevice(name)


def _net_devices(fields: Fields) -> dict[str, NetDevice]:
    devices = fields.object_map("netDevices", _net_device)
    for name in devices:
        if not _is_interface_name(name):
            raise InvalidParameterError(
                f"{fields.at('netDevices')}: {name!r} is no name of an interface"
            )
    return devices


def _is_interface_name(name: str) -> bool:
    """Tell whether the kernel takes ``name`` (``dev_valid_name`` in net/core/dev.c)."""
    return (
        0 < len(name.encode()) < _IFNAMSIZ
        and name not in (".", "..")
        and not any(each in "/:%\0" or each.isspace() for each in name)
    )


def _linux(fields: Fields) -> Linux:
    return Linux(
        namespaces=fields.array("namespaces", _namespace),
        uid_mappings=fields.array("uidMappings", _id_mapping),
        gid_mappings=fields.array("gidMappings", _id_mapping),
        devices=fields.array("devices", _device),
        cgroups_path=fields.string("cgroupsPath"),
        resources=fields.nested(
            "resources", lambda found: parse_resources(found.document, found.path)
        )
        or Resources(),
        rootfs_propagation=fields.choice("rootfsPropagation", _PROPAGATION),
        seccomp=fields.nested("seccomp", lambda found: parse_seccomp(found.document, found.path)),
        sysctl=fields.string_map("sysctl"),
        masked_paths=fields.strings("maskedPaths"),
        readonly_paths=fields.strings("readonlyPaths"),
        mount_label=fields.string("mountLabel"),
        personality=fields.nested("personality", _personality),
        time_offsets=fields.object_map("timeOffsets", _time_offset),
        memory_policy=fields.nested("memoryPolicy", _memory_policy),
        net_devices=_net_devices(fields),
        unsupported=tuple(name for name in _UNSUPPORTED if fields.has(name)),
    )


def _hook(fields: Fields) -> Hook:
    return Hook(
        path=fields.required_string("path"),
        args=fields.strings("args"),
        env=fields.strings("env"),
        timeout_s=fields.optional_integer("timeout", (1, UINT64[1])),
    )


def _hooks(fields: Fields) -> Hooks:
    return Hooks(
        prestart=fields.array("prestart", _hook),
        create_runtime=fields.array("createRuntime", _hook),
        create_container=fields.array("createContainer", _hook),
        start_container=fields.array("startContainer", _hook),
        poststart=fields.array("poststart", _hook),
        poststop=fields.array("poststop", _hook),
    )


def _is_semver(text: str) -> bool:
    text, plus, build = text.partition("+")
    numbers, dash, pre_release = text.partition("-")
    parts = numbers.split(".")
    return (
        len(parts) == 3
        and all(part.isascii() and part.isdigit() for part in parts)
        and all(
            word != "" and _SEMVER_WORD.issuperset(word)
            for mark, word in ((dash, pre_release), (plus, build))
            if mark
        )
    )


def _version(fields: Fields) -> str:
    value = fields.required_string("ociVersion")
    if not _is_semver(value):
        raise InvalidParameterError(
            f"{fields.at('ociVersion')}: {value!r} is no version of three numbers such as 1.3.0"
        )
    # Versions before 1.0 differ in what they lacked, and the specification's own examples have one.
    if not value.startswith(("0.", "1.")):
        raise InvalidParameterError(
            f"{fields.at('ociVersion')}: {value} is not supported: kedge follows versions 1.x"
        )
    return value


def parse_process(document: JsonObject) -> Process:
    """Return the process in an OCI ``process`` object, as `exec` receives it.

    Raises:
        InvalidParameterError: A field has the wrong type or value; the text names its path.
    """
    return _process(Fields(document, "process"))


def parse_spec(document: JsonObject) -> Spec:
    """Return the spec in a decoded ``config.json``.

    Raises:
        InvalidParameterError: A field has the wrong type or value; the text names its path.
    """
    fields = Fields(document, "config.json")
    return Spec(
        oci_version=_version(fields),
        root=fields.nested(
            "root",
            lambda root: Root(path=root.required_string("path"), readonly=root.boolean("readonly")),
        ),
        process=fields.nested("process", _process),
        hostname=fields.string("hostname"),
        domainname=fields.string("domainname"),
        mounts=fields.array("mounts", _mount),
        hooks=fields.nested("hooks", _hooks) or Hooks(),
        annotations=fields.string_map("annotations"),
        linux=fields.nested("linux", _linux) or Linux(),
    )
