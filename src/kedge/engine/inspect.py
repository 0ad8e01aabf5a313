"""What list and inspect show of a container: from record to wire types. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from kedge.api.types.config import EndpointSettings, PortBinding
from kedge.api.types.container import (
    ContainerInspect,
    ContainerState,
    ContainerSummary,
    GraphDriver,
    NetworkSettings,
    Port,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from kedge.api.types.wire import ZERO_TIME
from kedge.engine.healthrules import show_health
from kedge.engine.paths import EnginePaths
from kedge.engine.ports import parse_port
from kedge.engine.process import NetworkFiles
from kedge.engine.record import ContainerRecord
from kedge.engine.state import Status
from kedge.engine.status import describe
from kedge.lib.clock import format_rfc3339
from kedge.oci.mounts import Mount


def format_time(time_ns: int) -> str:
    """Return RFC 3339, or Go's zero time for 0."""
    return format_rfc3339(time_ns) if time_ns else ZERO_TIME


def make_state(record: ContainerRecord) -> ContainerState:
    """Return the ``State`` of an inspect."""
    return ContainerState(
        status=record.status,
        running=record.active,
        paused=record.status is Status.PAUSED,
        restarting=record.status is Status.RESTARTING,
        oom_killed=record.oom_killed,
        dead=record.status is Status.DEAD,
        pid=record.pid,
        exit_code=record.exit_code,
        error=record.error,
        started_at=format_time(record.started_ns),
        finished_at=format_time(record.finished_ns),
        health=None if record.health is None else show_health(record.health),
    )


def make_inspect(
    record: ContainerRecord, paths: EnginePaths, *, exec_ids: list[str], layers: GraphDriver
) -> ContainerInspect:
    """Return everything about one container.

    Args:
        record: The container.
        paths: Where its files are.
        exec_ids: Its exec sessions that still run.
        layers: Where its root filesystem is.
    """
    files = NetworkFiles(paths.container_dir(record.id))
    return ContainerInspect(
        id=record.id,
        created=format_time(record.created_ns),
        path=record.path,
        args=list(record.args),
        state=make_state(record),
        image=record.image_id,
        resolv_conf_path=files.resolv_conf if record.started_ns else "",
        hostname_path=files.hostname if record.started_ns else "",
        hosts_path=files.hosts if record.started_ns else "",
        log_path=paths.log_path(record.id)
        if record.host_config.log_config.type == "json-file"
        else "",
        name=f"/{record.name}",
        restart_count=record.restart_count,
        driver=layers.name,
        graph_driver=layers,
        platform="linux",
        exec_ids=exec_ids or None,
        host_config=record.host_config,
        mounts=list(record.mounts),
        config=record.config,
        network_settings=make_network_settings(record),
    )


def show_layers(driver: str, mounts: Sequence[Mount], pid: int) -> GraphDriver:
    """Return where a root filesystem is on the host, in the words of Docker's overlay2.

    Args:
        driver: The snapshotter's name.
        mounts: What it would mount.
        pid: The container's first process; 0 when it does not run.
    """
    words = {"lowerdir": "LowerDir", "upperdir": "UpperDir", "workdir": "WorkDir"}
    data: dict[str, str] = {}
    for mount in mounts:
        for option in mount.options:
            key, _, value = option.partition("=")
            if key in words:
                data[words[key]] = value
    if data and pid:
        # Joined, it is mounted in the container's own namespace alone.
        data["MergedDir"] = f"/proc/{pid}/root"
    return GraphDriver(name=driver, data=data or None)


def make_network_settings(record: ContainerRecord) -> NetworkSettings:
    """Return the networks of a container; the flat fields repeat the default bridge's."""
    networks = dict(record.networks)
    settings = NetworkSettings(
        sandbox_id=record.id if record.alive else "",
        sandbox_key=f"/proc/{record.pid}/ns/net" if record.pid else "",
        ports=dict(record.ports) if record.alive else {},
        networks=networks,
    )
    bridge = networks.get("bridge")
    if bridge is not None:
        settings = replace(
            settings,
            endpoint_id=bridge.endpoint_id,
            gateway=bridge.gateway,
            global_ipv6_address=bridge.global_ipv6_address,
            global_ipv6_prefix_len=bridge.global_ipv6_prefix_len,
            ip_address=bridge.ip_address,
            ip_prefix_len=bridge.ip_prefix_len,
            ipv6_gateway=bridge.ipv6_gateway,
            mac_address=bridge.mac_address,
        )
    return settings


def make_summary(record: ContainerRecord, *, image: str, now_ns: int) -> ContainerSummary:
    """Return one line of a container list.

    Args:
        record: The container.
        image: What to show as its image: the name it was made from while that still means the
            same image, else the id.
        now_ns: The time now.
    """
    return ContainerSummary(
        id=record.id,
        names=[f"/{record.name}"],
        image=image,
        image_id=record.image_id,
        command=" ".join([record.path, *(_quote(word) for word in record.args)]),
        created=record.created_ns // 1_000_000_000,
        ports=list_ports(record),
        labels=dict(record.config.labels),
        state=record.status,
        status=describe(record, now_ns),
        host_config=SummaryHostConfig(
            network_mode=record.host_config.network_mode,
            annotations=dict(record.host_config.annotations),
        ),
        network_settings=SummaryNetworkSettings(networks=dict(record.networks)),
        mounts=list(record.mounts),
    )


def list_ports(record: ContainerRecord) -> list[Port]:
    """Return the ports of a running container, published and merely exposed."""
    if not record.alive:
        return []
    listed: list[Port] = []
    for text, bindings in record.ports.items():
        port = parse_port(text)
        if not bindings:
            listed.append(Port(private_port=port.number, type=port.protocol))
        listed.extend(_public(port.number, port.protocol, binding) for binding in bindings or ())
    return listed


def _public(number: int, protocol: str, binding: PortBinding) -> Port:
    return Port(
        ip=binding.host_ip,
        private_port=number,
        public_port=int(binding.host_port or 0),
        type=protocol,
    )


def _quote(word: str) -> str:
    return f"'{word}'" if " " in word else word


def endpoint_addresses(settings: EndpointSettings) -> tuple[str, str]:
    """Return the addresses of an endpoint with their prefix lengths, empty where it has none."""
    ipv4 = f"{settings.ip_address}/{settings.ip_prefix_len}" if settings.ip_address else ""
    ipv6 = (
        f"{settings.global_ipv6_address}/{settings.global_ipv6_prefix_len}"
        if settings.global_ipv6_address
        else ""
    )
    return ipv4, ipv6
