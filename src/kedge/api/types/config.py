"""What a container is asked to be: its Config, HostConfig, mounts and endpoint settings.

Vocabulary: moby `api/types/container/config.go`, `hostconfig.go`, `mount/mount.go` and
`network/endpoint.go`. The same objects travel in create, inspect, commit and update.
"""

from msgspec import field

from kedge.api.types.wire import Empty, StrSlice, Wire, shown_dict, shown_list, shown_null


class HealthConfig(Wire):
    """How to test that a container is healthy; durations in nanoseconds, 0 means inherit."""

    test: list[str] = field(default_factory=list)
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(Wire):
    """The portable part of a container: what an image could say too."""

    hostname: str = field(default_factory=str)
    domainname: str = field(default_factory=str)
    user: str = field(default_factory=str)
    attach_stdin: bool = field(default_factory=bool)
    attach_stdout: bool = field(default_factory=bool)
    attach_stderr: bool = field(default_factory=bool)
    exposed_ports: dict[str, Empty] = field(default_factory=dict)
    tty: bool = field(default_factory=bool)
    open_stdin: bool = field(default_factory=bool)
    stdin_once: bool = field(default_factory=bool)
    env: list[str] = shown_list()
    cmd: StrSlice = field(default_factory=shown_null)
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = field(default_factory=str)
    volumes: dict[str, Empty] = shown_dict()
    working_dir: str = field(default_factory=str)
    entrypoint: StrSlice = field(default_factory=shown_null)
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] = shown_list()
    labels: dict[str, str] = shown_dict()
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: StrSlice = None


class LogConfig(Wire):
    """The log driver of a container; an empty type means the engine's default."""

    type: str = field(default_factory=str)
    config: dict[str, str] = shown_dict()


class RestartPolicy(Wire):
    """When the engine starts a container again; an empty name means never."""

    name: str = field(default_factory=str)
    maximum_retry_count: int = field(default_factory=int)


class PortBinding(Wire):
    """One address on the host for a container's port; an empty port means any."""

    host_ip: str = field(default_factory=str)
    host_port: str = field(default_factory=str)


class WeightDevice(Wire):
    """A block device's share of I/O."""

    path: str = field(default_factory=str)
    weight: int = field(default_factory=int)


class ThrottleDevice(Wire):
    """A block device's limit in bytes or operations a second."""

    path: str = field(default_factory=str)
    rate: int = field(default_factory=int)


class DeviceMapping(Wire):
    """A host device that a container may use."""

    path_on_host: str = field(default_factory=str)
    path_in_container: str = field(default_factory=str)
    cgroup_permissions: str = field(default_factory=str)


class DeviceRequest(Wire):
    """Devices asked for by driver, id or capability (GPUs, CDI names)."""

    driver: str = field(default_factory=str)
    count: int = field(default_factory=int)
    device_ids: list[str] = shown_list("DeviceIDs")
    capabilities: list[list[str]] = shown_list()
    options: dict[str, str] = shown_dict()


class Ulimit(Wire):
    """One resource limit by its short name, such as ``nofile``."""

    name: str = field(default_factory=str)
    hard: int = field(default_factory=int)
    soft: int = field(default_factory=int)


class Resources(Wire):
    """The limits that `docker update` may change, too; 0 means unlimited or inherited."""

    cpu_shares: int = field(default_factory=int)
    memory: int = field(default_factory=int)
    nano_cpus: int = field(default_factory=int)
    cgroup_parent: str = field(default_factory=str)
    blkio_weight: int = field(default_factory=int)
    blkio_weight_device: list[WeightDevice] = shown_list()
    blkio_device_read_bps: list[ThrottleDevice] = shown_list()
    blkio_device_write_bps: list[ThrottleDevice] = shown_list()
    blkio_device_read_iops: list[ThrottleDevice] = shown_list("BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] = shown_list("BlkioDeviceWriteIOps")
    cpu_period: int = field(default_factory=int)
    cpu_quota: int = field(default_factory=int)
    cpu_realtime_period: int = field(default_factory=int)
    cpu_realtime_runtime: int = field(default_factory=int)
    cpuset_cpus: str = field(default_factory=str)
    cpuset_mems: str = field(default_factory=str)
    devices: list[DeviceMapping] = shown_list()
    device_cgroup_rules: list[str] = shown_list()
    device_requests: list[DeviceRequest] = shown_list()
    kernel_memory: int = 0
    kernel_memory_tcp: int = field(name="KernelMemoryTCP", default=0)
    memory_reservation: int = field(default_factory=int)
    memory_swap: int = field(default_factory=int)
    memory_swappiness: int | None = field(default_factory=shown_null)
    oom_kill_disable: bool | None = field(default_factory=shown_null)
    pids_limit: int | None = field(default_factory=shown_null)
    ulimits: list[Ulimit] = shown_list()
    cpu_count: int = field(default_factory=int)
    cpu_percent: int = field(default_factory=int)
    io_maximum_iops: int = field(name="IOMaximumIOps", default_factory=int)
    io_maximum_bandwidth: int = field(name="IOMaximumBandwidth", default_factory=int)


class BindOptions(Wire):
    """Options of a mount of type ``bind``."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False
    id_map: str = field(name="IDMap", default="")
    """Not Docker's: `kedge.engine.idmaps`."""


class DriverConfig(Wire):
    """The driver a new volume is made with."""

    name: str = ""
    options: dict[str, str] = field(default_factory=dict)


class VolumeOptions(Wire):
    """Options of a mount of type ``volume``."""

    no_copy: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    subpath: str = ""
    driver_config: DriverConfig | None = None


class ImageOptions(Wire):
    """Options of a mount of type ``image``."""

    subpath: str = ""


class TmpfsOptions(Wire):
    """Options of a mount of type ``tmpfs``; mode as plain permission bits."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] = field(default_factory=list)


class Mount(Wire):
    """One entry of ``HostConfig.Mounts`` (`--mount`)."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: Empty | None = None


class HostConfig(Resources):
    """The part of a container that belongs to this host."""

    binds: list[str] = shown_list()
    container_id_file: str = field(name="ContainerIDFile", default_factory=str)
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = field(default_factory=str)
    port_bindings: dict[str, list[PortBinding] | None] = shown_dict()
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = field(default_factory=bool)
    volume_driver: str = field(default_factory=str)
    volumes_from: list[str] = shown_list()
    console_size: list[int] = field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] = field(default_factory=dict)
    cap_add: StrSlice = field(default_factory=shown_null)
    cap_drop: StrSlice = field(default_factory=shown_null)
    cgroupns_mode: str = field(default_factory=str)
    dns: list[str] = shown_list()
    dns_options: list[str] = shown_list()
    dns_search: list[str] = shown_list()
    extra_hosts: list[str] = shown_list()
    group_add: list[str] = shown_list()
    ipc_mode: str = field(default_factory=str)
    cgroup: str = field(default_factory=str)
    links: list[str] = shown_list()
    oom_score_adj: int = field(default_factory=int)
    pid_mode: str = field(default_factory=str)
    privileged: bool = field(default_factory=bool)
    publish_all_ports: bool = field(default_factory=bool)
    readonly_rootfs: bool = field(default_factory=bool)
    security_opt: list[str] = shown_list()
    storage_opt: dict[str, str] = field(default_factory=dict)
    tmpfs: dict[str, str] = field(default_factory=dict)
    uts_mode: str = field(name="UTSMode", default_factory=str)
    userns_mode: str = field(default_factory=str)
    shm_size: int = field(default_factory=int)
    sysctls: dict[str, str] = field(default_factory=dict)
    runtime: str = ""
    isolation: str = field(default_factory=str)
    mounts: list[Mount] = field(default_factory=list)
    masked_paths: list[str] | None = field(default_factory=shown_null)
    readonly_paths: list[str] | None = field(default_factory=shown_null)
    init: bool | None = None


class LegacyHostConfig(HostConfig):
    """A HostConfig as clients before API 1.42 know it: with limits kernels no longer have."""

    kernel_memory: int = field(default_factory=int)
    kernel_memory_tcp: int = field(name="KernelMemoryTCP", default_factory=int)


class EndpointIPAMConfig(Wire):
    """Addresses a client asks for on one network."""

    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")
    link_local_ips: list[str] = field(name="LinkLocalIPs", default_factory=list)


class EndpointSettings(Wire):
    """A container's place on one network: what was asked for and what it got."""

    ipam_config: EndpointIPAMConfig | None = field(name="IPAMConfig", default_factory=shown_null)
    links: list[str] | None = field(default_factory=shown_null)
    aliases: list[str] | None = field(default_factory=shown_null)
    mac_address: str = field(default_factory=str)
    driver_opts: dict[str, str] | None = field(default_factory=shown_null)
    gw_priority: int = field(default_factory=int)
    network_id: str = field(name="NetworkID", default_factory=str)
    endpoint_id: str = field(name="EndpointID", default_factory=str)
    gateway: str = field(default_factory=str)
    ip_address: str = field(name="IPAddress", default_factory=str)
    ip_prefix_len: int = field(name="IPPrefixLen", default_factory=int)
    ipv6_gateway: str = field(name="IPv6Gateway", default_factory=str)
    global_ipv6_address: str = field(name="GlobalIPv6Address", default_factory=str)
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default_factory=int)
    dns_names: list[str] | None = field(name="DNSNames", default_factory=shown_null)


class NetworkingConfig(Wire):
    """The networks a new container joins, by name or id."""

    endpoints_config: dict[str, EndpointSettings | None] = shown_dict()
