"""Containers on the wire: create, list, inspect, wait, top, changes, update, prune.

Vocabulary: moby `api/types/container`. What a container is asked to be lives in
`kedge.api.types.config`; statistics in `kedge.api.types.stats`.
"""

import msgspec
from msgspec import field

from kedge.api.types.config import (
    ContainerConfig,
    EndpointSettings,
    HostConfig,
    NetworkingConfig,
    PortBinding,
    Resources,
    RestartPolicy,
)
from kedge.api.types.wire import Wire, shown_dict, shown_list, shown_null, zero_time


class CreateRequest(ContainerConfig):
    """Body of ``POST /containers/create``: a Config with its host side beside it."""

    host_config: HostConfig = field(default_factory=HostConfig)
    networking_config: NetworkingConfig = field(default_factory=NetworkingConfig)


class CreateResponse(Wire):
    """The id of a new container."""

    id: str = field(default_factory=str)
    warnings: list[str] = shown_list()


class Port(Wire):
    """A port in a container list; one entry for each host address."""

    ip: str = field(name="IP", default="")
    private_port: int = field(default_factory=int)
    public_port: int = 0
    type: str = field(default_factory=str)


class MountPoint(Wire):
    """A mount a container has, as list and inspect show it."""

    type: str = ""
    name: str = ""
    source: str = field(default_factory=str)
    destination: str = field(default_factory=str)
    driver: str = ""
    mode: str = field(default_factory=str)
    rw: bool = field(name="RW", default_factory=bool)
    propagation: str = field(default_factory=str)


class SummaryHostConfig(Wire):
    """The little a list shows of a HostConfig."""

    network_mode: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


class SummaryNetworkSettings(Wire):
    """A container's networks in a list, by network name."""

    networks: dict[str, EndpointSettings] = shown_dict()


class ContainerSummary(Wire):
    """One line of ``GET /containers/json``; names carry a leading slash."""

    id: str = field(default_factory=str)
    names: list[str] = shown_list()
    image: str = field(default_factory=str)
    image_id: str = field(name="ImageID", default_factory=str)
    command: str = field(default_factory=str)
    created: int = field(default_factory=int)
    ports: list[Port] = shown_list()
    size_rw: int = 0
    size_root_fs: int = 0
    labels: dict[str, str] = shown_dict()
    state: str = field(default_factory=str)
    status: str = field(default_factory=str)
    host_config: SummaryHostConfig = field(default_factory=SummaryHostConfig)
    network_settings: SummaryNetworkSettings = field(default_factory=SummaryNetworkSettings)
    mounts: list[MountPoint] = shown_list()


class HealthcheckResult(Wire):
    """One run of a health check."""

    start: str = field(default_factory=zero_time)
    end: str = field(default_factory=zero_time)
    exit_code: int = field(default_factory=int)
    output: str = field(default_factory=str)


class Health(Wire):
    """What the health checks said: ``starting``, ``healthy`` or ``unhealthy``."""

    status: str = field(default_factory=str)
    failing_streak: int = field(default_factory=int)
    log: list[HealthcheckResult] = shown_list()


class ContainerState(Wire):
    """A container's state; times are RFC 3339, Go's zero time means never."""

    status: str = field(default_factory=str)
    running: bool = field(default_factory=bool)
    paused: bool = field(default_factory=bool)
    restarting: bool = field(default_factory=bool)
    oom_killed: bool = field(name="OOMKilled", default_factory=bool)
    dead: bool = field(default_factory=bool)
    pid: int = field(default_factory=int)
    exit_code: int = field(default_factory=int)
    error: str = field(default_factory=str)
    started_at: str = field(default_factory=zero_time)
    finished_at: str = field(default_factory=zero_time)
    health: Health | None = None


class GraphDriver(Wire):
    """Where the storage driver keeps a root filesystem."""

    data: dict[str, str] | None = field(default_factory=shown_null)
    name: str = field(default_factory=str)


class NetworkAddress(Wire):
    """An address with its prefix length."""

    addr: str = field(default_factory=str)
    prefix_len: int = field(default_factory=int)


class NetworkSettings(Wire):
    """A container's networks; the flat fields repeat the default bridge's endpoint."""

    bridge: str = field(default_factory=str)
    sandbox_id: str = field(name="SandboxID", default_factory=str)
    sandbox_key: str = field(default_factory=str)
    ports: dict[str, list[PortBinding] | None] = shown_dict()
    hairpin_mode: bool = field(default_factory=bool)
    link_local_ipv6_address: str = field(name="LinkLocalIPv6Address", default_factory=str)
    link_local_ipv6_prefix_len: int = field(name="LinkLocalIPv6PrefixLen", default_factory=int)
    secondary_ip_addresses: list[NetworkAddress] | None = field(
        name="SecondaryIPAddresses", default_factory=shown_null
    )
    secondary_ipv6_addresses: list[NetworkAddress] | None = field(
        name="SecondaryIPv6Addresses", default_factory=shown_null
    )
    endpoint_id: str = field(name="EndpointID", default_factory=str)
    gateway: str = field(default_factory=str)
    global_ipv6_address: str = field(name="GlobalIPv6Address", default_factory=str)
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default_factory=int)
    ip_address: str = field(name="IPAddress", default_factory=str)
    ip_prefix_len: int = field(name="IPPrefixLen", default_factory=int)
    ipv6_gateway: str = field(name="IPv6Gateway", default_factory=str)
    mac_address: str = field(default_factory=str)
    networks: dict[str, EndpointSettings] = shown_dict()


class ContainerInspect(Wire):
    """Everything about one container: ``GET /containers/{id}/json``."""

    id: str = field(default_factory=str)
    created: str = field(default_factory=str)
    path: str = field(default_factory=str)
    args: list[str] = shown_list()
    state: ContainerState = field(default_factory=ContainerState)
    image: str = field(default_factory=str)
    resolv_conf_path: str = field(default_factory=str)
    hostname_path: str = field(default_factory=str)
    hosts_path: str = field(default_factory=str)
    log_path: str = field(default_factory=str)
    name: str = field(default_factory=str)
    restart_count: int = field(default_factory=int)
    driver: str = field(default_factory=str)
    platform: str = field(default_factory=str)
    mount_label: str = field(default_factory=str)
    process_label: str = field(default_factory=str)
    app_armor_profile: str = field(default_factory=str)
    exec_ids: list[str] | None = field(name="ExecIDs", default_factory=shown_null)
    host_config: HostConfig = field(default_factory=HostConfig)
    graph_driver: GraphDriver = field(default_factory=GraphDriver)
    size_rw: int | None = None
    size_root_fs: int | None = None
    mounts: list[MountPoint] = shown_list()
    config: ContainerConfig = field(default_factory=ContainerConfig)
    network_settings: NetworkSettings = field(default_factory=NetworkSettings)


class WaitError(Wire):
    """Why waiting failed."""

    message: str = field(default_factory=str)


class WaitResponse(Wire):
    """How a container ended."""

    status_code: int = field(default_factory=int)
    error: WaitError | None = None


class TopResponse(Wire):
    """The process list of a container, as ``ps`` prints it."""

    titles: list[str] = shown_list()
    processes: list[list[str]] = shown_list()


class FilesystemChange(Wire):
    """One changed path: kind 0 modified, 1 added, 2 deleted."""

    path: str = field(default_factory=str)
    kind: int = field(default_factory=int)


class UpdateRequest(Resources):
    """Body of ``POST /containers/{id}/update``."""

    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)


class UpdateResponse(Wire):
    """What an update could not do."""

    warnings: list[str] = shown_list()


class ContainersPruneResponse(Wire):
    """The containers a prune removed and the bytes it freed."""

    containers_deleted: list[str] = shown_list()
    space_reclaimed: int = field(default_factory=int)


class CommitResponse(Wire):
    """The id of the image a commit made."""

    id: str = field(default_factory=str)


class PathStat(msgspec.Struct, rename="camel"):
    """What stands at a path in a container, as the ``X-Docker-Container-Path-Stat`` header has it.

    `mode` holds bits of Go's ``fs.FileMode``, which are not those of stat(2).
    """

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str = ""
