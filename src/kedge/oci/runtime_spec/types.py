"""The types of an OCI runtime-spec `config.json`, one NamedTuple per object of the schema.

Names are the specification's in snake case. An absent list is an empty tuple, an absent string
is empty, an absent number is None. NamedTuples because the shim and the runtime import this.
`linux.resources` and `linux.seccomp` have modules of their own beside this package.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.oci.runtime_spec_resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.oci.runtime_spec_seccomp import Seccomp


class IdMapping(NamedTuple):
    """A range of ids inside a user namespace and where it lies on the host."""

    container_id: int
    host_id: int
    size: int


class SpecMount(NamedTuple):
    """One entry of ``mounts``; ``destination`` is as the container sees it."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class Root(NamedTuple):
    """The root file system; a relative path is relative to the bundle."""

    path: str
    readonly: bool = False


class User(NamedTuple):
    """Who the process is; ``umask`` None leaves 0022."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(NamedTuple):
    """The five sets, as names like ``CAP_CHOWN``."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(NamedTuple):
    """One resource limit; ``2**64 - 1`` means unlimited."""

    type: str
    soft: int
    hard: int


class ConsoleSize(NamedTuple):
    """The terminal's size in characters."""

    height: int
    width: int


class IoPriority(NamedTuple):
    """``IOPRIO_CLASS_*`` and the level inside it."""

    io_class: str
    priority: int = 0


class Scheduler(NamedTuple):
    """The arguments of ``sched_setattr(2)``."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class CpuAffinity(NamedTuple):
    """CPU lists for an exec: until it joined the cgroup, and after."""

    initial: str = ""
    final: str = ""


class Process(NamedTuple):
    """What runs, and as whom. ``capabilities`` None means none at all."""

    cwd: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = User()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    io_priority: IoPriority | None = None
    scheduler: Scheduler | None = None
    exec_cpu_affinity: CpuAffinity | None = None


class Namespace(NamedTuple):
    """A namespace to make, or with ``path`` one to join."""

    type: str
    path: str = ""


class Device(NamedTuple):
    """A device node to make; ``file_mode`` None is 0666."""

    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int = 0
    gid: int = 0


class TimeOffset(NamedTuple):
    """The offset of one clock in a time namespace."""

    secs: int = 0
    nanosecs: int = 0


class Personality(NamedTuple):
    """The execution domain, ``LINUX`` or ``LINUX32``."""

    domain: str
    flags: tuple[str, ...] = ()


class MemoryPolicy(NamedTuple):
    """The arguments of ``set_mempolicy(2)``; ``nodes`` is a list such as ``0-3,7``."""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


class NetDevice(NamedTuple):
    """What an interface of the host is called in the container; empty for the same."""

    name: str = ""


class Linux(NamedTuple):
    """The ``linux`` object."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    devices: tuple[Device, ...] = ()
    cgroups_path: str = ""
    resources: Resources = Resources()
    rootfs_propagation: str = ""
    seccomp: Seccomp | None = None
    sysctl: Mapping[str, str] = {}
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: Personality | None = None
    time_offsets: Mapping[str, TimeOffset] = {}
    memory_policy: MemoryPolicy | None = None
    net_devices: Mapping[str, NetDevice] = {}
    unsupported: tuple[str, ...] = ()
    """Present objects that no kedge release implements (``intelRdt``)."""


class Hook(NamedTuple):
    """A program to run at a point of the lifecycle; ``timeout_s`` None waits for ever."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout_s: int | None = None


class Hooks(NamedTuple):
    """The hooks by the point at which they run."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Spec(NamedTuple):
    """A whole ``config.json``."""

    oci_version: str
    root: Root | None = None
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[SpecMount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = {}
    linux: Linux = Linux()
