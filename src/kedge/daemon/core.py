"""The first half of the composition root: all a container needs of an engine that has come back.

What is read and made here is what `restore` works on. A host's containers wait for their name
server while it goes on, so it comes before the services (`kedge.daemon.assembly`), whose modules,
builder and registries among them, take as long to read as all the rest of a start.
"""

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
from kedge.engine.containers import ContainerIndex
from kedge.engine.context import EngineContext, EngineSettings
from kedge.engine.events import EventBus
from kedge.engine.execs import ExecService
from kedge.engine.health import HealthChecks
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.logoptions import check_log_options
from kedge.engine.logtags import check_tag
from kedge.engine.paths import EnginePaths
from kedge.engine.process import CGROUP_PARENT
from kedge.engine.record import RecordStore
from kedge.engine.restore import restore
from kedge.engine.storerepair import keep_trash, open_store
from kedge.engine.userns import load_remap
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
class EngineCore:
    """What has been made true and answers names; nobody is served yet."""

    context: EngineContext
    execs: ExecService
    lifecycle: Lifecycle
    problems: list[str]


@contextlib.asynccontextmanager
async def open_core(config: DaemonConfig) -> AsyncGenerator[EngineCore, None]:
    """Take up what is found on the roots of ``config``.

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
        stack.push_async_callback(_stop, context, lifecycle)
        problems = await restore(context, lifecycle)
        # It warms up while the services' modules are read.
        await context.spawner.start()
        yield EngineCore(context=context, execs=execs, lifecycle=lifecycle, problems=problems)


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
    sys.stderr.flush()


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
