"""The composition root: every part of the engine is made here and handed to those who use it."""

import asyncio
import contextlib
import fcntl
import os
import shlex
import sys
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from kedge.content.store import ContentStore
from kedge.daemon.config import DaemonConfig
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.proxies import merge_proxies
from kedge.distribution.pull import Puller
from kedge.distribution.push import Pusher
from kedge.distribution.registry import RegistryInspector
from kedge.distribution.search import RegistrySearcher
from kedge.distribution.trust import CERTS_DIRECTORIES
from kedge.engine.buildkit import BuildKitService
from kedge.engine.builds import BuildService
from kedge.engine.container_files import ContainerFilesService
from kedge.engine.container_service import ContainerService
from kedge.engine.containers import ContainerIndex
from kedge.engine.context import EngineContext, EngineSettings
from kedge.engine.events import EventBus
from kedge.engine.execs import ExecService
from kedge.engine.health import HealthChecks
from kedge.engine.image_archives import ImageArchiveService
from kedge.engine.images import ImageService
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.logoptions import check_log_options
from kedge.engine.logtags import check_tag
from kedge.engine.networks import NetworkService
from kedge.engine.paths import EnginePaths
from kedge.engine.process import CGROUP_PARENT
from kedge.engine.record import RecordStore
from kedge.engine.registries import RegistryService
from kedge.engine.restore import restore
from kedge.engine.searching import SearchService
from kedge.engine.storerepair import keep_trash, may_remove_unknown, open_store
from kedge.engine.system import SystemService
from kedge.engine.userns import load_remap
from kedge.engine.volumes import VolumeService
from kedge.errdefs import ConflictError, InvalidParameterError, NotSupportedError
from kedge.images.store import ImageStore
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.logdrivers.watch import DirectoryWatcher
from kedge.network.controller import NetworkController
from kedge.network.dns.names import NameTable
from kedge.network.dns.server import NameServer
from kedge.network.model import NetworkOptions
from kedge.shim.orphans import remove_cgroup_parent
from kedge.shim.spawner_client import Spawner
from kedge.snapshots.choice import open_snapshotter
from kedge.volumes.hostmounts import HostMounts
from kedge.volumes.store import VolumeStore

_WORKERS: Final = 16
# Each waits for a client or a registry; more than a host has of either.
_JOBS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The services of one running engine, one for each router of the server."""

    context: EngineContext
    lifecycle: Lifecycle
    containers: ContainerService
    files: ContainerFilesService
    execs: ExecService
    images: ImageService
    image_archives: ImageArchiveService
    registries: RegistryService
    search: SearchService
    builds: BuildService
    buildkit: BuildKitService
    networks: NetworkService
    volumes: VolumeService
    system: SystemService
    problems: list[str]


@contextlib.asynccontextmanager
async def open_engine(config: DaemonConfig) -> AsyncGenerator[Engine, None]:
    """Make an engine on the roots of ``config`` and take up what it finds there.

    Leaving stops the engine: containers run on with ``live_restore``, otherwise they are stopped
    first. An engine without a running container leaves no link and no rule on the host.

    Raises:
        ConflictError: Another engine has these roots.
    """
    paths = _paths(config)
    _check_log_defaults(config)
    async with contextlib.AsyncExitStack() as stack:
        paths.ensure()
        stack.enter_context(_lock(paths.data_root))
        context = await _make_context(config, paths, stack)
        execs = ExecService(context)
        lifecycle = Lifecycle(context, HealthChecks(context, execs), warn=_warn)
        settings = _registry_settings(config)
        puller = Puller(context.images, settings)
        stack.callback(puller.close)
        pusher = Pusher(context.images, settings)
        stack.callback(pusher.close)
        searcher = RegistrySearcher(settings)
        stack.callback(searcher.close)
        images = ImageService(context, puller)
        containers = ContainerService(context, lifecycle)
        stack.push_async_callback(_stop, context, lifecycle)
        # Before the builder, which removes layers that a stray build step may still write to.
        problems = await restore(context, lifecycle)
        builds = BuildService(context, puller, asyncio.get_running_loop(), settings)
        stack.push_async_callback(builds.close)
        buildkit = BuildKitService(context, builds, puller)
        stack.callback(buildkit.close)
        volumes = VolumeService(context)
        stack.callback(volumes.close)
        # After the builder, which holds the layers of its cache.
        if may_remove_unknown(paths):
            context.workers.submit(context.images.collect_garbage)
        context.workers.submit(context.snapshots.purge)
        context.workers.submit(context.volumes.purge)
        lifecycle.resume_policies()
        yield Engine(
            context=context,
            lifecycle=lifecycle,
            containers=containers,
            files=ContainerFilesService(context),
            execs=execs,
            images=images,
            image_archives=ImageArchiveService(context, lifecycle),
            registries=RegistryService(context, pusher, RegistryInspector(settings)),
            search=SearchService(context, searcher),
            builds=builds,
            buildkit=buildkit,
            networks=NetworkService(context),
            volumes=volumes,
            system=SystemService(context, containers, images, builds, volumes),
            problems=problems,
        )


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
    sys.stderr.flush()


def _registry_settings(config: DaemonConfig) -> RegistrySettings:
    proxies = {
        "http_proxy": config.http_proxy,
        "https_proxy": config.https_proxy,
        "no_proxy": config.no_proxy,
    }
    return RegistrySettings(
        mirrors=config.registry_mirrors,
        insecure=config.insecure_registries,
        certs_directories=tuple(dict.fromkeys((config.certs_dir, *CERTS_DIRECTORIES[1:]))),
        # What is not configured is the environment's, as in dockerd.
        proxies=merge_proxies(proxies, os.environ),
        max_downloads=config.max_concurrent_downloads,
        max_uploads=config.max_concurrent_uploads,
        max_attempts=config.max_download_attempts,
    )


def _check_log_defaults(config: DaemonConfig) -> None:
    try:
        check_log_options(config.log_driver, config.log_opts)
        check_tag(config.log_opts)
    except (InvalidParameterError, NotSupportedError) as error:
        raise InvalidParameterError(f"failed to set log opts: {error}") from error


def _paths(config: DaemonConfig) -> EnginePaths:
    return EnginePaths(
        data_root=os.path.abspath(config.data_root), exec_root=os.path.abspath(config.exec_root)
    )


def _settings(config: DaemonConfig) -> EngineSettings:
    return EngineSettings(
        dns=config.dns,
        dns_search=config.dns_search,
        dns_opts=config.dns_opts,
        labels=config.labels,
        live_restore=config.live_restore,
        fast_stop=config.fast_stop,
        host_certs=config.host_certs,
        builder_gc=config.builder_gc,
        log_driver=config.log_driver,
        log_opts=config.log_opts,
        debug=config.debug,
        registry_mirrors=config.registry_mirrors,
        insecure_registries=config.insecure_registries,
        init=config.init,
        init_path=config.init_path,
        cdi_spec_dirs=config.cdi_spec_dirs,
        cgroup_parent=config.cgroup_parent,
        default_ipc_mode=config.default_ipc_mode,
        default_cgroupns_mode=config.default_cgroupns_mode,
        default_shm_size=config.default_shm_size,
        default_ulimits=config.default_ulimits,
        runtimes={name: tuple(shlex.split(line)) for name, line in config.runtimes.items()},
        default_runtime=config.default_runtime,
        id_maps=load_remap(config.userns_remap),
    )


def _network_options(config: DaemonConfig) -> NetworkOptions:
    return NetworkOptions(
        bip=config.bip,
        bridge=config.bridge,
        ipv6=config.ipv6,
        mtu=config.mtu,
        ip_forward=config.ip_forward,
        packet_filter=config.iptables,
    )


async def _make_context(
    config: DaemonConfig, paths: EnginePaths, stack: contextlib.AsyncExitStack
) -> EngineContext:
    store = open_store(paths, SYSTEM_CLOCK)
    stack.callback(store.close)
    database = store.database
    workers = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="kedge-work")
    stack.callback(workers.shutdown, cancel_futures=True)
    jobs = ThreadPoolExecutor(max_workers=_JOBS, thread_name_prefix="kedge-job")
    stack.callback(jobs.shutdown, cancel_futures=True)
    # What libraries and `asyncio.to_thread` run there may be a whole build, too.
    asyncio.get_running_loop().set_default_executor(jobs)
    network_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kedge-net")
    stack.callback(network_worker.shutdown, cancel_futures=True)
    log_watcher = DirectoryWatcher()
    stack.callback(log_watcher.close)
    content = ContentStore(paths.content)
    containers = ContainerIndex(RecordStore(database))
    snapshots = open_snapshotter(paths.snapshots, database)
    keep_trash(paths, store)
    names = NameTable()
    name_server = NameServer(names)
    stack.callback(name_server.close)
    context = EngineContext(
        paths=paths,
        settings=_settings(config),
        store=store,
        database=database,
        content=content,
        snapshots=snapshots,
        images=ImageStore(database, content, snapshots),
        network=NetworkController(
            database,
            paths.data_root,
            _network_options(config),
            container_name=containers.display_name,
            warn=_warn,
        ),
        volumes=VolumeStore(paths.volumes, database, SYSTEM_CLOCK),
        host_mounts=HostMounts(paths.volume_mounts),
        names=names,
        name_server=name_server,
        spawner=Spawner(run_dir=paths.exec_root),
        containers=containers,
        events=EventBus(SYSTEM_CLOCK),
        clock=SYSTEM_CLOCK,
        log_watcher=log_watcher,
        workers=workers,
        jobs=jobs,
        network_worker=network_worker,
    )
    await context.spawner.start()
    stack.push_async_callback(context.spawner.close)
    return context


async def _stop(context: EngineContext, lifecycle: Lifecycle) -> None:
    if not context.settings.live_restore:
        await lifecycle.stop_all()
    await lifecycle.close()
    idle = not any(item.record.alive for item in context.containers)
    await context.run_network(lambda: context.network.close(remove=idle))
    if idle:
        remove_cgroup_parent(CGROUP_PARENT)


@contextlib.contextmanager
def _lock(data_root: str) -> Generator[None, None, None]:
    """Hold the data root: two engines on one would destroy each other's records."""
    descriptor = os.open(
        os.path.join(data_root, "engine.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    )
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"data root {data_root} is in use by another engine: stop it or choose another "
                "--data-root"
            ) from None
        yield
    finally:
        os.close(descriptor)
