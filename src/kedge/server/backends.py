"""What each router needs from the engine: one narrow Protocol a router.

The engine's use cases satisfy them without importing this package; `kedge.daemon` joins the two.
All methods are coroutines on the server's event loop. They raise `kedge.errdefs` classes, whose
text reaches the client as it is. A method that returns an iterator or an awaitable has checked
its arguments and registered its interest before it returns: nothing that happens afterwards is
missed, and a failure found by then becomes an ordinary HTTP error.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kedge.api.options import (
    AttachOptions,
    BuildOptions,
    BuildPruneOptions,
    CommitOptions,
    EventsOptions,
    ExtractOptions,
    ImageListOptions,
    ImportOptions,
    ListOptions,
    LogOptions,
    WaitCondition,
)
from kedge.api.streams import AttachedStream, OutputStream
from kedge.api.types.config import ContainerConfig
from kedge.api.types.container import (
    ContainerInspect,
    ContainersPruneResponse,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    FilesystemChange,
    PathStat,
    TopResponse,
    UpdateRequest,
    UpdateResponse,
    WaitResponse,
)
from kedge.api.types.distribution import DistributionInspect, SearchItem
from kedge.api.types.exec import (
    ExecCreateRequest,
    ExecCreateResponse,
    ExecInspect,
    ExecStartRequest,
)
from kedge.api.types.image import (
    CommitResponse,
    HistoryItem,
    ImageDeleteItem,
    ImageInspect,
    ImagesPruneResponse,
    ImageSummary,
    LayerBlob,
)
from kedge.api.types.network import (
    Network,
    NetworkConnectRequest,
    NetworkCreateRequest,
    NetworkCreateResponse,
    NetworkDisconnectRequest,
    NetworksPruneResponse,
)
from kedge.api.types.progress import ProgressMessage
from kedge.api.types.stats import Stats
from kedge.api.types.system import (
    AuthConfig,
    AuthResponse,
    BuildPruneResponse,
    DiskUsage,
    Event,
    Info,
    Version,
)
from kedge.api.types.volume import (
    Volume,
    VolumeCreateRequest,
    VolumeListResponse,
    VolumesPruneResponse,
)
from kedge.lib.filters import Filters


class ContainerBackend(Protocol):
    """Containers; ``ref`` is a name, a full id or a unique prefix of one."""

    async def create(self, request: CreateRequest, *, name: str, platform: str) -> CreateResponse:
        """Make a container; an empty name lets the engine choose one."""
        ...

    async def list(self, options: ListOptions) -> Sequence[ContainerSummary]:
        """Return the containers that match, newest first."""
        ...

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """Return everything about one container."""
        ...

    async def start(self, ref: str) -> None:
        """Start it; `NotModifiedError` when it runs."""
        ...

    async def stop(self, ref: str, *, signal: str, timeout_s: int | None) -> None:
        """Stop it; an empty signal and None mean its own; -1 waits for ever.

        `NotModifiedError` when it does not run.
        """
        ...

    async def restart(self, ref: str, *, signal: str, timeout_s: int | None) -> None:
        """Stop it where it runs, then start it."""
        ...

    async def kill(self, ref: str, *, signal: str) -> None:
        """Send a signal; empty means SIGKILL."""
        ...

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, killing it first with ``force``, with its anonymous volumes on request."""
        ...

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResponse]:
        """Register for the condition; the returned awaitable gives the outcome."""
        ...

    async def attach(self, ref: str, options: AttachOptions) -> AttachedStream:
        """Attach to a created or running container."""
        ...

    async def logs(self, ref: str, options: LogOptions) -> OutputStream:
        """Return its log as the client shall get it."""
        ...

    async def resize(self, ref: str, *, width: int, height: int) -> None:
        """Resize its terminal."""
        ...

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name."""
        ...

    async def pause(self, ref: str) -> None:
        """Freeze its processes."""
        ...

    async def unpause(self, ref: str) -> None:
        """Thaw its processes."""
        ...

    async def update(self, ref: str, request: UpdateRequest) -> UpdateResponse:
        """Change its limits and restart policy."""
        ...

    async def top(self, ref: str, ps_args: str) -> TopResponse:
        """Return its processes."""
        ...

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Stats]:
        """Return samples: one a second, or one alone.

        A single sample that is not ``one_shot`` takes two readings a second apart, so that
        its `precpu_stats` is filled.
        """
        ...

    async def changes(self, ref: str) -> Sequence[FilesystemChange]:
        """Return what it changed in its root filesystem."""
        ...

    async def prune(self, filters: Filters) -> ContainersPruneResponse:
        """Remove the stopped containers that match."""
        ...


class ContainerFilesBackend(Protocol):
    """The files of containers; ``ref`` as for `ContainerBackend`."""

    async def stat(self, ref: str, path: str) -> PathStat:
        """Return what stands at ``path``."""
        ...

    async def read(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """Return what stands at ``path``, with a tar stream of it."""
        ...

    async def write(
        self, ref: str, path: str, options: ExtractOptions, body: AsyncIterator[bytes]
    ) -> None:
        """Extract a tar stream into the directory at ``path``."""
        ...

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """Return the whole root file system as a tar stream."""
        ...


class ExecBackend(Protocol):
    """Exec sessions."""

    async def create(self, container: str, request: ExecCreateRequest) -> ExecCreateResponse:
        """Record a session in a running container."""
        ...

    async def check(self, exec_id: str) -> None:
        """Raise what makes a start impossible already: unknown, or its container not running."""
        ...

    async def start(self, exec_id: str, request: ExecStartRequest) -> AttachedStream | None:
        """Start it; None when detached."""
        ...

    async def resize(self, exec_id: str, *, width: int, height: int) -> None:
        """Resize its terminal."""
        ...

    async def inspect(self, exec_id: str) -> ExecInspect:
        """Return its state."""
        ...


class ImageBackend(Protocol):
    """Images; ``ref`` is a reference, an id or a unique prefix of one."""

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """Return the images that match, newest first."""
        ...

    async def inspect(self, ref: str, *, platform: str) -> ImageInspect:
        """Return everything about one image."""
        ...

    async def history(self, ref: str, *, platform: str) -> Sequence[HistoryItem]:
        """Return its steps, newest first."""
        ...

    async def tag(self, ref: str, *, repo: str, tag: str) -> None:
        """Give it another name; an empty tag means ``latest``."""
        ...

    async def remove(
        self, ref: str, *, force: bool, prune: bool, platforms: Sequence[str]
    ) -> Sequence[ImageDeleteItem]:
        """Untag it and delete it with its last tag; ``prune`` also untagged parents.

        Where ``platforms`` are given, only an image of one of them.
        """
        ...

    async def pull(
        self, image: str, *, tag: str, platform: str, auth: AuthConfig | None
    ) -> AsyncIterator[ProgressMessage]:
        """Fetch an image; ``tag`` is a tag, a digest or empty, as ``fromImage`` and ``tag`` say."""
        ...

    async def bootstrap(self, name: str) -> AsyncIterator[ProgressMessage]:
        """Make a base image from the distribution's packages (kedge's own route)."""
        ...

    async def prune(self, filters: Filters) -> ImagesPruneResponse:
        """Remove the unused images that match."""
        ...


class RegistryBackend(Protocol):
    """What happens at a registry; ``auth`` is None for nobody."""

    async def push(
        self, name: str, *, tag: str, platform: str, auth: AuthConfig | None
    ) -> AsyncIterator[ProgressMessage]:
        """Push one tag, or all tags of the repository ``name`` where ``tag`` is empty."""
        ...

    async def auth(self, config: AuthConfig) -> AuthResponse:
        """Check credentials with their registry."""
        ...

    async def inspect_remote(self, name: str, *, auth: AuthConfig | None) -> DistributionInspect:
        """Return what the registry has under ``name``."""
        ...


class SearchBackend(Protocol):
    """Finding images at a registry."""

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: AuthConfig | None
    ) -> Sequence[SearchItem]:
        """Return the repositories that match; 0 is the usual limit."""
        ...


class ImageArchiveBackend(Protocol):
    """Images as archives, from archives and from containers."""

    async def save(
        self,
        names: Sequence[str],
        *,
        platform: str,
        since: Sequence[str],
        without: Sequence[str],
    ) -> AsyncIterator[bytes]:
        """Return images as one tar stream.

        Args:
            names: Which.
            platform: Which they have to be for; empty is any.
            since: Images whose layers are left out.
            without: Digests of layers that are left out.
        """
        ...

    async def layers(self, name: str) -> Sequence[LayerBlob]:
        """Return the layers of an image, base layer first."""
        ...

    async def missing_layers(self, digests: Sequence[str]) -> Sequence[str]:
        """Return those of the digests that are no layers here."""
        ...

    async def load(
        self, body: AsyncIterator[bytes], *, quiet: bool, platform: str
    ) -> AsyncIterator[ProgressMessage]:
        """Take up the images of an archive."""
        ...

    async def commit(
        self, ref: str, options: CommitOptions, config: ContainerConfig | None
    ) -> CommitResponse:
        """Make an image of what a container changed."""
        ...

    async def import_image(
        self, source: str, options: ImportOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[ProgressMessage]:
        """Make an image of a tar stream: the body where ``source`` is ``-``, else of a URL."""
        ...


class BuildBackend(Protocol):
    """Builds with the classic protocol."""

    async def build(
        self, options: BuildOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[ProgressMessage]:
        """Build an image; ``body`` is the context as it arrives, empty with a remote one.

        A failing build raises from the iterator, and the server sends that as the last message;
        or it ends with an `error_message` of its own, where an exit code belongs to it.
        """
        ...

    async def cancel(self, build_id: str) -> None:
        """End the build that its client gave this id; one that is not there has ended."""
        ...

    async def compare_context(self, key: str, listing: bytes) -> tuple[str, list[int]]:
        """Return a token, and the positions of the listed files the engine lacks."""
        ...

    async def output(self, token: str) -> AsyncIterator[bytes]:
        """Return the bytes of an output as the build makes them."""
        ...

    def shell(self, token: str) -> AbstractAsyncContextManager[AttachedStream]:
        """Enclose the life of the shell of a step that failed."""
        ...

    async def resize_shell(self, token: str, *, width: int, height: int) -> None:
        """Set the size of its terminal in characters."""
        ...

    async def prune(self, options: BuildPruneOptions) -> BuildPruneResponse:
        """Remove build cache."""
        ...


class ByteStream(Protocol):
    """A client's connection as bytes."""

    async def read(self) -> bytes:
        """Return what came; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of it, waiting while the client is slow."""
        ...


class BuildKitBackend(Protocol):
    """BuildKit's clients, on connections that were taken over from HTTP/1.1."""

    async def serve_control(self, stream: ByteStream) -> None:
        """Answer a client's calls until its connection ends."""
        ...

    async def serve_session(self, identity: str, shared_key: str, stream: ByteStream) -> None:
        """Keep a client's session, on which the engine calls, until its connection ends."""
        ...


class SystemBackend(Protocol):
    """The engine itself."""

    async def version(self) -> Version:
        """Return the versions of the engine and its parts."""
        ...

    async def info(self) -> Info:
        """Return the engine's state and abilities."""
        ...

    async def events(self, options: EventsOptions) -> AsyncIterator[Event]:
        """Return past events from ``since_ns``, then new ones until ``until_ns``."""
        ...

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        """Return sizes of the kinds (``container image volume build-cache``); none means all."""
        ...


class NetworkBackend(Protocol):
    """Networks; ``ref`` is a name, an id or a unique prefix of one."""

    async def list(self, filters: Filters) -> Sequence[Network]:
        """Return the networks that match."""
        ...

    async def inspect(self, ref: str, *, scope: str) -> Network:
        """Return one network with its containers."""
        ...

    async def create(self, request: NetworkCreateRequest) -> NetworkCreateResponse:
        """Make a network."""
        ...

    async def remove(self, ref: str) -> None:
        """Remove a network nobody is in."""
        ...

    async def connect(self, ref: str, request: NetworkConnectRequest) -> None:
        """Take a container into a network."""
        ...

    async def disconnect(self, ref: str, request: NetworkDisconnectRequest) -> None:
        """Take a container out of a network."""
        ...

    async def prune(self, filters: Filters) -> NetworksPruneResponse:
        """Remove the unused networks that match."""
        ...


class VolumeBackend(Protocol):
    """Volumes."""

    async def list(self, filters: Filters) -> VolumeListResponse:
        """Return the volumes that match."""
        ...

    async def inspect(self, name: str) -> Volume:
        """Return one volume."""
        ...

    async def create(self, request: VolumeCreateRequest) -> Volume:
        """Make a volume, or return the one of that name; an empty name makes an anonymous one."""
        ...

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume nobody uses; ``force`` does not mind that there is none."""
        ...

    async def prune(self, filters: Filters, *, anonymous_only: bool) -> VolumesPruneResponse:
        """Remove what nobody uses; ``anonymous_only`` spares names unless ``all`` is given."""
        ...
