"""The API server: backends in, listening sockets out."""

from typing import NamedTuple

from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.server.application import Application
from kedge.server.backends import (
    BuildBackend,
    BuildKitBackend,
    ContainerBackend,
    ContainerFilesBackend,
    ExecBackend,
    ImageArchiveBackend,
    ImageBackend,
    NetworkBackend,
    RegistryBackend,
    SearchBackend,
    SystemBackend,
    VolumeBackend,
)
from kedge.server.limits import DEFAULT_LIMITS, Limits
from kedge.server.response import ServerIdentity
from kedge.server.routers.buildkit import BuildKitRouter
from kedge.server.routers.builds import BuildRouter
from kedge.server.routers.container_files import ContainerFilesRouter
from kedge.server.routers.container_streams import ContainerStreamRouter
from kedge.server.routers.containers import ContainerRouter
from kedge.server.routers.execs import ExecRouter
from kedge.server.routers.image_archives import ImageArchiveRouter
from kedge.server.routers.images import ImageRouter
from kedge.server.routers.networks import NetworkRouter
from kedge.server.routers.registries import RegistryRouter
from kedge.server.routers.searching import SearchRouter
from kedge.server.routers.system import SystemRouter
from kedge.server.routers.volumes import VolumeRouter
from kedge.server.serving import HttpServer


class Backends(NamedTuple):
    """What the routers need, one for each."""

    system: SystemBackend
    containers: ContainerBackend
    files: ContainerFilesBackend
    execs: ExecBackend
    images: ImageBackend
    image_archives: ImageArchiveBackend
    builds: BuildBackend
    buildkit: BuildKitBackend
    networks: NetworkBackend
    volumes: VolumeBackend
    registries: RegistryBackend
    search: SearchBackend


def build_application(backends: Backends, identity: ServerIdentity) -> Application:
    """Return the API over ``backends``."""
    archives = ImageArchiveRouter(backends.image_archives)
    return Application(
        {
            **SystemRouter(backends.system, identity).handlers(),
            **ContainerRouter(backends.containers).handlers(),
            **ContainerStreamRouter(backends.containers).handlers(),
            **ContainerFilesRouter(backends.files).handlers(),
            **ExecRouter(backends.execs).handlers(),
            **ImageRouter(backends.images, archives.import_image).handlers(),
            **archives.handlers(),
            **RegistryRouter(backends.registries).handlers(),
            **SearchRouter(backends.search).handlers(),
            **BuildRouter(backends.builds).handlers(),
            **BuildKitRouter(backends.buildkit).handlers(),
            **NetworkRouter(backends.networks).handlers(),
            **VolumeRouter(backends.volumes).handlers(),
        }
    )


class Server(HttpServer):
    """Serves the Engine API."""

    def __init__(
        self,
        backends: Backends,
        identity: ServerIdentity,
        *,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Serve ``backends``, under the name ``identity``."""
        super().__init__(
            build_application(backends, identity),
            identity_lines=identity.header_lines(),
            limits=limits,
            clock=clock,
        )
