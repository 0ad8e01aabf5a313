"""The engine itself on the wire: version, info, events, disk usage, auth, errors.

Vocabulary: moby `api/types/system`, `events`, `registry`.
"""

import msgspec
from msgspec import UNSET, UnsetType, field

from kedge.api.types.container import ContainerSummary
from kedge.api.types.image import ImageSummary
from kedge.api.types.volume import Volume
from kedge.api.types.wire import Wire, shown_dict, shown_list, shown_null, zero_time


class ErrorResponse(msgspec.Struct):
    """The body of every failed request."""

    message: str


class PlatformName(Wire):
    """The product a version belongs to."""

    name: str = field(default_factory=str)


class ComponentVersion(Wire):
    """One part of the engine and its version."""

    name: str = field(default_factory=str)
    version: str = field(default_factory=str)
    details: dict[str, str] = field(default_factory=dict)


class Version(Wire):
    """``GET /version``; the flat fields repeat the component ``Engine``."""

    platform: PlatformName = field(default_factory=PlatformName)
    components: list[ComponentVersion] = field(default_factory=list)
    version: str = field(default_factory=str)
    api_version: str = field(default_factory=str)
    min_api_version: str = field(name="MinAPIVersion", default="")
    git_commit: str = field(default_factory=str)
    go_version: str = field(default_factory=str)
    os: str = field(default_factory=str)
    arch: str = field(default_factory=str)
    kernel_version: str = ""
    experimental: bool = False
    build_time: str = ""


class PluginsInfo(Wire):
    """Names of the drivers the engine has."""

    volume: list[str] = shown_list()
    network: list[str] = shown_list()
    authorization: list[str] | None = field(default_factory=shown_null)
    log: list[str] = shown_list()


class IndexInfo(Wire):
    """One registry and how it is reached."""

    name: str = field(default_factory=str)
    mirrors: list[str] = shown_list()
    secure: bool = field(default_factory=bool)
    official: bool = field(default_factory=bool)


class RegistryConfig(Wire):
    """How the engine reaches registries."""

    insecure_registry_cidrs: list[str] = shown_list("InsecureRegistryCIDRs")
    index_configs: dict[str, IndexInfo] = shown_dict()
    mirrors: list[str] = shown_list()
    allow_nondistributable_artifacts_cidrs: list[str] | UnsetType = field(
        name="AllowNondistributableArtifactsCIDRs", default=UNSET
    )
    allow_nondistributable_artifacts_hostnames: list[str] | UnsetType = UNSET


class RuntimeInfo(msgspec.Struct, omit_defaults=True):
    """An OCI runtime the engine can use."""

    path: str = ""
    runtime_args: list[str] = field(name="runtimeArgs", default_factory=list)
    status: dict[str, str] = field(default_factory=dict)


class SwarmInfo(Wire):
    """The node's part in a swarm: none."""

    node_id: str = field(name="NodeID", default_factory=str)
    node_addr: str = field(default_factory=str)
    local_node_state: str = field(default_factory=lambda: "inactive")
    control_available: bool = field(default_factory=bool)
    error: str = field(default_factory=str)
    remote_managers: list[str] | None = field(default_factory=shown_null)


class Commit(Wire):
    """A version of a helper program."""

    id: str = field(name="ID", default_factory=str)
    expected: str | UnsetType = UNSET


class AddressPool(Wire):
    """Addresses from which new networks are cut."""

    base: str = field(default_factory=str)
    size: int = field(default_factory=int)


class DeviceInfo(Wire):
    """A device that containers can ask for by name."""

    source: str = field(default_factory=str)
    id: str = field(name="ID", default_factory=str)


class FirewallInfo(Wire):
    """Which firewall the engine programs."""

    driver: str = field(default_factory=str)
    info: list[list[str]] = field(default_factory=list)


class Info(Wire):
    """``GET /info``; what is unset by default is for older clients."""

    id: str = field(name="ID", default_factory=str)
    containers: int = field(default_factory=int)
    containers_running: int = field(default_factory=int)
    containers_paused: int = field(default_factory=int)
    containers_stopped: int = field(default_factory=int)
    images: int = field(default_factory=int)
    driver: str = field(default_factory=str)
    driver_status: list[list[str]] = shown_list()
    plugins: PluginsInfo = field(default_factory=PluginsInfo)
    memory_limit: bool = field(default_factory=bool)
    swap_limit: bool = field(default_factory=bool)
    cpu_cfs_period: bool = field(default_factory=bool)
    cpu_cfs_quota: bool = field(default_factory=bool)
    cpu_shares: bool = field(name="CPUShares", default_factory=bool)
    cpu_set: bool = field(name="CPUSet", default_factory=bool)
    pids_limit: bool = field(default_factory=bool)
    ipv4_forwarding: bool = field(name="IPv4Forwarding", default_factory=bool)
    debug: bool = field(default_factory=bool)
    n_fd: int = field(name="NFd", default_factory=int)
    oom_kill_disable: bool = field(default_factory=bool)
    n_goroutines: int = field(name="NGoroutines", default_factory=int)
    system_time: str = field(default_factory=str)
    logging_driver: str = field(default_factory=str)
    cgroup_driver: str = field(default_factory=str)
    cgroup_version: str = ""
    n_events_listener: int = field(name="NEventsListener", default_factory=int)
    kernel_version: str = field(default_factory=str)
    operating_system: str = field(default_factory=str)
    os_version: str = field(name="OSVersion", default_factory=str)
    os_type: str = field(name="OSType", default_factory=lambda: "linux")
    architecture: str = field(default_factory=str)
    index_server_address: str = field(default_factory=str)
    registry_config: RegistryConfig = field(default_factory=RegistryConfig)
    ncpu: int = field(name="NCPU", default_factory=int)
    mem_total: int = field(default_factory=int)
    generic_resources: list[str] | None = field(default_factory=shown_null)
    docker_root_dir: str = field(default_factory=str)
    http_proxy: str = field(default_factory=str)
    https_proxy: str = field(default_factory=str)
    no_proxy: str = field(default_factory=str)
    name: str = field(default_factory=str)
    labels: list[str] = shown_list()
    experimental_build: bool = field(default_factory=bool)
    server_version: str = field(default_factory=str)
    runtimes: dict[str, RuntimeInfo] = shown_dict()
    default_runtime: str = field(default_factory=str)
    swarm: SwarmInfo = field(default_factory=SwarmInfo)
    live_restore_enabled: bool = field(default_factory=bool)
    isolation: str = field(default_factory=str)
    init_binary: str = field(default_factory=str)
    containerd_commit: Commit = field(default_factory=Commit)
    runc_commit: Commit = field(default_factory=Commit)
    init_commit: Commit = field(default_factory=Commit)
    security_options: list[str] = shown_list()
    product_license: str = ""
    default_address_pools: list[AddressPool] = field(default_factory=list)
    firewall_backend: FirewallInfo | None = None
    cdi_spec_dirs: list[str] = shown_list("CDISpecDirs")
    discovered_devices: list[DeviceInfo] = field(default_factory=list)
    warnings: list[str] | None = field(default_factory=shown_null)
    execution_driver: str | UnsetType = UNSET
    bridge_nf_iptables: bool | UnsetType = UNSET
    bridge_nf_ip6tables: bool | UnsetType = field(name="BridgeNfIp6tables", default=UNSET)
    kernel_memory: bool | UnsetType = UNSET
    kernel_memory_tcp: bool | UnsetType = field(name="KernelMemoryTCP", default=UNSET)


class EventActor(Wire):
    """The object an event is about."""

    id: str = field(name="ID", default_factory=str)
    attributes: dict[str, str] = shown_dict()


class Event(msgspec.Struct, omit_defaults=True):
    """One event; `status`, `id` and `from` are what clients before 1.52 need.

    The engine sets them for containers and images: status is the action, id the actor's id,
    from a container's image. `time` is in seconds, `time_nano` in nanoseconds.
    """

    status: str = ""
    id: str = ""
    from_: str = field(name="from", default="")
    type: str = field(name="Type", default_factory=str)
    action: str = field(name="Action", default_factory=str)
    actor: EventActor = field(name="Actor", default_factory=EventActor)
    scope: str = ""
    time: int = 0
    time_nano: int = field(name="timeNano", default=0)


class BuildCacheRecord(Wire):
    """One entry of the build cache."""

    id: str = field(name="ID", default_factory=str)
    parents: list[str] = field(default_factory=list)
    parent: str | UnsetType = UNSET
    """The first of `parents`, for older clients."""
    type: str = field(default_factory=str)
    description: str = field(default_factory=str)
    in_use: bool = field(default_factory=bool)
    shared: bool = field(default_factory=bool)
    size: int = field(default_factory=int)
    created_at: str = field(default_factory=zero_time)
    last_used_at: str | None = field(default_factory=shown_null)
    usage_count: int = field(default_factory=int)


class BuildPruneResponse(Wire):
    """The build cache entries a prune removed and the bytes it freed."""

    caches_deleted: list[str] = shown_list()
    space_reclaimed: int = field(default_factory=int)


class DiskUsage(Wire):
    """``GET /system/df``; None for a kind the client did not ask for."""

    layers_size: int = field(default_factory=int)
    images: list[ImageSummary] | None = shown_list()
    containers: list[ContainerSummary] | None = shown_list()
    volumes: list[Volume] | None = shown_list()
    build_cache: list[BuildCacheRecord] | None = shown_list()
    builder_size: int | UnsetType = UNSET
    """What the build cache takes, for older clients."""


class AuthConfig(msgspec.Struct, omit_defaults=True):
    """Credentials for one registry, as ``X-Registry-Auth`` and ``POST /auth`` carry them."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class AuthResponse(Wire):
    """The outcome of a login."""

    identity_token: str = field(default_factory=str)
    status: str = field(default_factory=str)
