"""The second half of the composition root: the services, one for each router of the server."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from kedge.daemon.config import DaemonConfig
from kedge.daemon.core import EngineCore
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
from kedge.engine.context import EngineContext
from kedge.engine.execs import ExecService
from kedge.engine.image_archives import ImageArchiveService
from kedge.engine.images import ImageService
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.networks import NetworkService
from kedge.engine.registries import RegistryService
from kedge.engine.searching import SearchService
from kedge.engine.storerepair import may_remove_unknown
from kedge.engine.system import SystemService
from kedge.engine.volumes import VolumeService


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
async def open_engine(config: DaemonConfig, core: EngineCore) -> AsyncGenerator[Engine, None]:
    """Make the services of an engine; leaving closes them, the core goes on."""
    context, lifecycle = core.context, core.lifecycle
    async with contextlib.AsyncExitStack() as stack:
        settings = _registry_settings(config)
        puller = Puller(context.images, settings)
        stack.callback(puller.close)
        pusher = Pusher(context.images, settings)
        stack.callback(pusher.close)
        searcher = RegistrySearcher(settings)
        stack.callback(searcher.close)
        images = ImageService(context, puller)
        containers = ContainerService(context, lifecycle)
        # After `restore`: the builder removes layers that a stray build step may still write to.
        builds = BuildService(context, puller, asyncio.get_running_loop(), settings)
        stack.push_async_callback(builds.close)
        builds.builder.keeper.add(images.packages)
        buildkit = BuildKitService(context, builds, puller)
        stack.callback(buildkit.close)
        volumes = VolumeService(context)
        stack.callback(volumes.close)
        # After the builder, which holds the layers of its cache.
        if may_remove_unknown(context.paths):
            context.workers.submit(context.images.collect_garbage)
        context.workers.submit(context.snapshots.purge)
        context.workers.submit(context.volumes.purge)
        lifecycle.resume_policies()
        yield Engine(
            context=context,
            lifecycle=lifecycle,
            containers=containers,
            files=ContainerFilesService(context),
            execs=core.execs,
            images=images,
            image_archives=ImageArchiveService(context, lifecycle),
            registries=RegistryService(context, pusher, RegistryInspector(settings)),
            search=SearchService(context, searcher),
            builds=builds,
            buildkit=buildkit,
            networks=NetworkService(context),
            volumes=volumes,
            system=SystemService(context, containers, images, builds, volumes),
            problems=core.problems,
        )


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
