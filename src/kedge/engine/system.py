"""The engine itself: version, info, events, disk usage, login."""

import os
import platform as host_facts
import uuid
from collections.abc import AsyncIterator

from kedge import __version__
from kedge.api.options import EventsOptions, ImageListOptions, ListOptions
from kedge.api.types.system import (
    ComponentVersion,
    DeviceInfo,
    DiskUsage,
    Event,
    IndexInfo,
    Info,
    PlatformName,
    PluginsInfo,
    RegistryConfig,
    RuntimeInfo,
    Version,
)
from kedge.api.versions import MAX_VERSION, MIN_VERSION
from kedge.engine.builds import BuildService
from kedge.engine.cdi import load_registry
from kedge.engine.container_service import ContainerService
from kedge.engine.context import EngineContext, EngineSettings
from kedge.engine.images import ImageService
from kedge.engine.kernelfacts import read_facts
from kedge.engine.logoptions import LOG_DRIVERS
from kedge.engine.process import is_cgroup_v2
from kedge.engine.state import Status
from kedge.engine.volumes import VolumeService
from kedge.lib.clock import format_rfc3339
from kedge.network.model import Driver
from kedge.oci.platforms import host_platform


class SystemService:
    """Satisfies the server's ``SystemBackend``."""

    def __init__(
        self,
        context: EngineContext,
        containers: ContainerService,
        images: ImageService,
        builds: BuildService,
        volumes: VolumeService,
    ) -> None:
        """Answer for ``context``'s engine."""
        self._context = context
        self._containers = containers
        self._images = images
        self._builds = builds
        self._volumes = volumes
        self._engine_id = engine_id(context.paths.data_root)

    async def version(self) -> Version:
        """Return the versions of the engine and its parts."""
        architecture = host_platform().architecture
        details = {
            "ApiVersion": str(MAX_VERSION),
            "MinAPIVersion": str(MIN_VERSION),
            "Arch": architecture,
            "Os": "linux",
            "KernelVersion": os.uname().release,
            "PythonVersion": host_facts.python_version(),
            "GoVersion": f"Python {host_facts.python_version()}",
            "GitCommit": "",
            "BuildTime": "",
            "Experimental": "false",
        }
        return Version(
            platform=PlatformName(name="kedge"),
            components=[ComponentVersion(name="Engine", version=__version__, details=details)],
            version=__version__,
            api_version=str(MAX_VERSION),
            min_api_version=str(MIN_VERSION),
            go_version=f"Python {host_facts.python_version()}",
            os="linux",
            arch=architecture,
            kernel_version=os.uname().release,
        )

    async def info(self) -> Info:
        """Return the engine's state and abilities."""
        context, settings = self._context, self._context.settings
        states = [item.record.status for item in context.containers]
        running, paused = states.count(Status.RUNNING), states.count(Status.PAUSED)
        v2 = is_cgroup_v2()
        facts = read_facts()
        info = Info(
            id=self._engine_id,
            containers=len(states),
            containers_running=running,
            containers_paused=paused,
            containers_stopped=len(states) - running - paused,
            images=len(context.images.list_images()),
            driver=context.snapshots.driver,
            driver_status=[["Backing Filesystem", _filesystem(context.paths.data_root)]],
            plugins=PluginsInfo(volume=["local"], network=sorted(Driver), log=list(LOG_DRIVERS)),
            memory_limit=facts.memory,
            swap_limit=facts.swap,
            cpu_cfs_period=facts.cpu_cfs,
            cpu_cfs_quota=facts.cpu_cfs,
            cpu_shares=facts.cpu_shares,
            cpu_set=facts.cpuset,
            pids_limit=facts.pids,
            ipv4_forwarding=_read("/proc/sys/net/ipv4/ip_forward") == "1",
            debug=settings.debug,
            n_fd=len(os.listdir("/proc/self/fd")),
            oom_kill_disable=facts.oom_kill_disable,
            n_events_listener=context.events.listener_count,
            system_time=format_rfc3339(context.clock.time_ns()),
            logging_driver=settings.log_driver,
            cgroup_driver="cgroupfs",
            cgroup_version="2" if v2 else "1",
            kernel_version=os.uname().release,
            operating_system=_operating_system(),
            architecture=os.uname().machine,
            index_server_address="https://index.docker.io/v1/",
            registry_config=_registry_config(
                settings.registry_mirrors, settings.insecure_registries
            ),
            ncpu=os.cpu_count() or 1,
            mem_total=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            docker_root_dir=context.paths.data_root,
            http_proxy=os.environ.get("HTTP_PROXY", ""),
            https_proxy=os.environ.get("HTTPS_PROXY", ""),
            no_proxy=os.environ.get("NO_PROXY", ""),
            name=os.uname().nodename,
            labels=list(settings.labels),
            server_version=__version__,
            default_runtime=settings.default_runtime,
            live_restore_enabled=settings.live_restore,
            security_options=[
                "name=seccomp,profile=builtin",
                *(("name=userns",) if settings.id_maps is not None else ()),
            ],
            warnings=[*context.store.problems, *context.network.problems()],
        )
        _add_choices(info, settings)
        return info

    async def events(self, options: EventsOptions) -> AsyncIterator[Event]:
        """Return past events, then new ones."""
        return self._context.events.listen(options)

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        """Return sizes of the kinds asked for; none means all."""
        wanted = kinds or frozenset({"container", "image", "volume", "build-cache"})
        usage = DiskUsage(images=None, containers=None, volumes=None, build_cache=None)
        if "image" in wanted:
            usage.layers_size = self._context.images.total_layer_bytes()
            usage.images = list(
                await self._images.list(ImageListOptions(all=True, shared_size=True))
            )
        if "container" in wanted:
            usage.containers = list(await self._containers.list(ListOptions(all=True, size=True)))
        if "volume" in wanted:
            usage.volumes = list(await self._volumes.usage())
        if "build-cache" in wanted:
            usage.build_cache = await self._context.run_blocking(self._builds.cache.records)
        return usage


def _add_choices(info: Info, settings: EngineSettings) -> None:
    """Say what flags of a container may name: runtimes, the init, CDI devices."""
    registry = load_registry(settings.cdi_spec_dirs)
    info.runtimes = {
        "kedge": RuntimeInfo(path="kedge-runtime"),
        **{
            name: RuntimeInfo(path=path, runtime_args=words)
            for name, (path, *words) in settings.runtimes.items()
        },
    }
    info.init_binary = settings.init_path or "docker-init"
    info.cdi_spec_dirs = list(settings.cdi_spec_dirs)
    info.discovered_devices = [
        DeviceInfo(source="cdi", id=name) for name in sorted(registry.devices)
    ]
    info.warnings = [*(info.warnings or ()), *registry.problems]


def _registry_config(mirrors: tuple[str, ...], insecure: tuple[str, ...]) -> RegistryConfig:
    hub = IndexInfo(name="docker.io", mirrors=list(mirrors), secure=True, official=True)
    others = {
        name: IndexInfo(name=name, mirrors=[], secure=False, official=False)
        for name in insecure
        if "/" not in name
    }
    return RegistryConfig(
        insecure_registry_cidrs=["::1/128", "127.0.0.0/8", *(c for c in insecure if "/" in c)],
        index_configs={"docker.io": hub, **others},
        mirrors=list(mirrors),
    )


def engine_id(data_root: str) -> str:
    """Return the id of the engine on ``data_root``, the same after every start."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"file://{os.uname().nodename}{data_root}"))


def _operating_system() -> str:
    try:
        return host_facts.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"


def _filesystem(path: str) -> str:
    best, kind = "", "unknown"
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        for line in stream:
            _, mount, fstype, *_ = line.split()
            if os.path.realpath(path).startswith(mount) and len(mount) > len(best):
                best, kind = mount, fstype
    return kind


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
