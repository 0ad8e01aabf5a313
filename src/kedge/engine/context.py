"""What every use case of the engine works with, joined once by `kedge.daemon`."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from kedge.content.store import ContentStore
from kedge.engine.cdi import DEFAULT_SPEC_DIRS
from kedge.engine.containers import ContainerIndex
from kedge.engine.defaults import OWN_RUNTIME, SHM_SIZE_BYTES
from kedge.engine.events import EventBus
from kedge.engine.paths import EnginePaths
from kedge.engine.userns import IdMaps
from kedge.images.store import ImageStore
from kedge.lib.clock import Clock
from kedge.lib.database import Database
from kedge.lib.jsontypes import Json, JsonObject
from kedge.lib.safestore import SafeStore
from kedge.logdrivers.watch import DirectoryWatcher
from kedge.network.controller import NetworkController
from kedge.network.dns.names import NameTable
from kedge.network.dns.server import NameServer
from kedge.shim.spawner_client import Spawner
from kedge.snapshots.snapshotter import Snapshotter
from kedge.volumes.hostmounts import HostMounts
from kedge.volumes.store import VolumeStore

T = TypeVar("T")


class Closable(Protocol):
    """Something that was opened."""

    def close(self) -> None:
        """Close it."""
        ...


Opened = TypeVar("Opened", bound=Closable)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The part of the daemon's configuration that the use cases look at."""

    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    live_restore: bool = True
    fast_stop: bool = True
    host_certs: str = "auto"
    log_driver: str = "json-file"
    log_opts: dict[str, str] = field(default_factory=dict[str, str])
    debug: bool = False
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    id_maps: IdMaps | None = None
    """Of the user namespace containers run in by default; None for the host's own."""
    init: bool = False
    init_path: str = ""
    cdi_spec_dirs: tuple[str, ...] = DEFAULT_SPEC_DIRS
    cgroup_parent: str = ""
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    default_shm_size: int = SHM_SIZE_BYTES
    default_ulimits: dict[str, str] = field(default_factory=dict[str, str])
    builder_gc: JsonObject = field(default_factory=dict[str, Json])
    """``builder.gc`` of the configuration file."""
    runtimes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Program and arguments of each further OCI runtime, by name."""
    default_runtime: str = OWN_RUNTIME
    """What a container gets that asks for none."""


@dataclass(slots=True, kw_only=True)
class EngineContext:
    """The stores, the network and the spawner of one engine; everything lives as long as it."""

    paths: EnginePaths
    settings: EngineSettings
    store: SafeStore
    """What is beside the database: its copy, and what is wrong with either."""
    database: Database
    content: ContentStore
    snapshots: Snapshotter
    images: ImageStore
    network: NetworkController
    volumes: VolumeStore
    host_mounts: HostMounts
    names: NameTable
    name_server: NameServer
    spawner: Spawner
    containers: ContainerIndex
    events: EventBus
    clock: Clock
    log_watcher: DirectoryWatcher
    workers: ThreadPoolExecutor
    """A few threads for short work on disk or CPU."""
    jobs: ThreadPoolExecutor
    """Threads for work that waits for somebody else, such as a client or a registry."""
    network_worker: ThreadPoolExecutor
    """One thread, so that changes to interfaces and rules happen one after the other."""

    async def run_blocking(self, call: Callable[[], T]) -> T:
        """Run short disk or CPU work in a thread and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, call)

    async def run_opening(self, call: Callable[[], Opened]) -> Opened:
        """Open something in a thread; when nobody waits for it any more, it is closed again."""
        opening = asyncio.get_running_loop().run_in_executor(self.workers, call)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    async def run_job(self, call: Callable[[], T]) -> T:
        """Run work in a thread that may wait as long as somebody else likes; nobody waits for it.

        Work of clients that stop sending, or of registries that never answer, must not take the
        threads that everything else needs.
        """
        return await asyncio.get_running_loop().run_in_executor(self.jobs, call)

    async def run_network(self, call: Callable[[], T]) -> T:
        """Run a change of the network in its own thread."""
        return await asyncio.get_running_loop().run_in_executor(self.network_worker, call)


def _close_opened(opening: asyncio.Future[Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
