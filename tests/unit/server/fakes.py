"""Backends that answer from memory, a server over them, and a raw client."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence

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
from kedge.api.streams import STDERR, STDOUT, AttachedStream, OutputStream, frame
from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.api.types.container import (
    ContainerInspect,
    ContainersPruneResponse,
    ContainerState,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    FilesystemChange,
    PathStat,
    Port,
    TopResponse,
    UpdateRequest,
    UpdateResponse,
    WaitResponse,
)
from kedge.api.types.distribution import DistributionInspect, OciDescriptor, OciPlatform, SearchItem
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
from kedge.api.types.progress import Aux, ProgressDetail, ProgressMessage
from kedge.api.types.stats import Stats
from kedge.api.types.system import (
    AuthConfig,
    AuthResponse,
    BuildPruneResponse,
    ComponentVersion,
    DiskUsage,
    Event,
    EventActor,
    Info,
    PlatformName,
    Version,
)
from kedge.api.types.volume import (
    Volume,
    VolumeCreateRequest,
    VolumeListResponse,
    VolumesPruneResponse,
)
from kedge.errdefs import (
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    NotModifiedError,
)
from kedge.lib.filters import Filters
from kedge.server.backends import ByteStream
from kedge.server.response import ServerIdentity
from kedge.server.server import Backends

CONTAINER_ID = "4ab1" * 16
IMAGE_ID = "sha256:" + "5cd2" * 16
IDENTITY = ServerIdentity("28.2.2")


class FakeClock:
    """A clock that stands still."""

    def time_ns(self) -> int:
        return 1_700_000_000 * 10**9

    def monotonic(self) -> float:
        return 0.0


class FakeContainers:
    """One container named ``web``; records what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.created: list[CreateRequest] = []
        self.tty = False
        self.exited: asyncio.Future[WaitResponse] = asyncio.get_running_loop().create_future()
        self.shim: socket.socket | None = None
        self.detached = 0
        self.log_chunks: list[bytes] = [frame(STDOUT, b"out\n"), frame(STDERR, b"err\n")]
        self.logs_left = asyncio.Event()
        self.follow_forever = asyncio.Event()

    def find(self, ref: str) -> str:
        if ref != "web" and not CONTAINER_ID.startswith(ref):
            raise NotFoundError(f"No such container: {ref}")
        return CONTAINER_ID

    async def create(self, request: CreateRequest, *, name: str, platform: str) -> CreateResponse:
        self.calls.append(("create", name, platform))
        self.created.append(request)
        if name == "web":
            raise ConflictError(f'Conflict. The container name "/web" is used by "{CONTAINER_ID}".')
        return CreateResponse(id=CONTAINER_ID)

    async def list(self, options: ListOptions) -> Sequence[ContainerSummary]:
        self.calls.append(("list", options))
        return [
            ContainerSummary(
                id=CONTAINER_ID,
                names=["/web"],
                image="busybox",
                image_id=IMAGE_ID,
                command="sh",
                created=1_700_000_000,
                ports=[Port(ip="0.0.0.0", private_port=80, public_port=8080, type="tcp")],
                state="running",
                status="Up 3 seconds",
            )
        ]

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        self.calls.append(("inspect", ref, size))
        return ContainerInspect(
            id=self.find(ref),
            name="/web",
            path="sh",
            image=IMAGE_ID,
            state=ContainerState(status="running", running=True, pid=42),
            config=ContainerConfig(image="busybox", tty=self.tty, open_stdin=True),
            host_config=HostConfig(network_mode="bridge"),
        )

    async def start(self, ref: str) -> None:
        self.find(ref)
        self.calls.append(("start", ref))

    async def stop(self, ref: str, *, signal: str, timeout_s: int | None) -> None:
        self.calls.append(("stop", ref, signal, timeout_s))
        raise NotModifiedError("container already stopped")

    async def restart(self, ref: str, *, signal: str, timeout_s: int | None) -> None:
        self.calls.append(("restart", ref, signal, timeout_s))

    async def kill(self, ref: str, *, signal: str) -> None:
        self.calls.append(("kill", ref, signal))

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        self.calls.append(("remove", ref, force, volumes, link))
        self.find(ref)

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResponse]:
        self.find(ref)
        self.calls.append(("wait", ref, condition))
        return self.exited

    async def attach(self, ref: str, options: AttachOptions) -> AttachedStream:
        self.find(ref)
        self.calls.append(("attach", ref, options))
        ours, theirs = socket.socketpair()
        theirs.settimeout(0)
        ours.settimeout(0)
        self.shim = ours
        return AttachedStream(
            tty=self.tty,
            stdin=options.stdin,
            sock=theirs,
            detach_keys=options.detach_keys,
            history=_chunks([frame(STDOUT, b"before\n")]) if options.logs else None,
            on_detach=self._note_detach,
        )

    def _note_detach(self) -> None:
        self.detached += 1

    async def logs(self, ref: str, options: LogOptions) -> OutputStream:
        self.find(ref)
        self.calls.append(("logs", ref, options))
        return OutputStream(tty=self.tty, chunks=self._log_chunks(follow=options.follow))

    async def _log_chunks(self, *, follow: bool) -> AsyncIterator[bytes]:
        try:
            for chunk in self.log_chunks:
                yield chunk
            if follow:
                await self.follow_forever.wait()
        finally:
            self.logs_left.set()

    async def resize(self, ref: str, *, width: int, height: int) -> None:
        self.calls.append(("resize", ref, width, height))

    async def rename(self, ref: str, name: str) -> None:
        self.calls.append(("rename", ref, name))

    async def pause(self, ref: str) -> None:
        self.calls.append(("pause", ref))

    async def unpause(self, ref: str) -> None:
        self.calls.append(("unpause", ref))

    async def update(self, ref: str, request: UpdateRequest) -> UpdateResponse:
        self.calls.append(("update", ref, request.memory))
        return UpdateResponse()

    async def top(self, ref: str, ps_args: str) -> TopResponse:
        self.calls.append(("top", ref, ps_args))
        return TopResponse(titles=["PID"], processes=[["42"]])

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Stats]:
        self.calls.append(("stats", ref, stream, one_shot))
        return _samples(2 if stream else 1)

    async def changes(self, ref: str) -> Sequence[FilesystemChange]:
        self.find(ref)
        return [FilesystemChange(path="/etc", kind=0)]

    async def prune(self, filters: Filters) -> ContainersPruneResponse:
        filters.check_keys({"label", "label!", "until"})
        return ContainersPruneResponse(containers_deleted=[CONTAINER_ID], space_reclaimed=7)


class FakeExecs:
    """Sessions that echo; ``missing`` fails to start."""

    def __init__(self) -> None:
        self.shim: socket.socket | None = None
        self.calls: list[tuple[object, ...]] = []

    async def create(self, container: str, request: ExecCreateRequest) -> ExecCreateResponse:
        self.calls.append(("create", container, tuple(request.cmd or ())))
        return ExecCreateResponse(id="e" * 64)

    async def check(self, exec_id: str) -> None:
        if exec_id == "unknown":
            raise NotFoundError(f"No such exec instance: {exec_id}")

    async def start(self, exec_id: str, request: ExecStartRequest) -> AttachedStream | None:
        self.calls.append(("start", exec_id, request.detach, request.tty))
        if exec_id == "missing":
            raise InvalidParameterError('exec: "nope": executable file not found in $PATH: unknown')
        if request.detach:
            return None
        ours, theirs = socket.socketpair()
        theirs.settimeout(0)
        ours.settimeout(0)
        self.shim = ours
        return AttachedStream(tty=request.tty, stdin=True, sock=theirs)

    async def resize(self, exec_id: str, *, width: int, height: int) -> None:
        self.calls.append(("resize", exec_id, width, height))

    async def inspect(self, exec_id: str) -> ExecInspect:
        return ExecInspect(id=exec_id, exit_code=0, container_id=CONTAINER_ID)


class FakeImages:
    """One image, busybox."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fail_at = -1

    def find(self, ref: str) -> None:
        if ref not in {
            "busybox",
            "busybox:latest",
            "docker.io/library/busybox",
            "localhost:5000/a/b",
        }:
            raise NotFoundError(f"No such image: {ref}")

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        self.calls.append(("list", options))
        return [
            ImageSummary(id=IMAGE_ID, repo_tags=["busybox:latest"], size=4_000_000, created=1_700)
        ]

    async def inspect(self, ref: str, *, platform: str) -> ImageInspect:
        self.calls.append(("inspect", ref, platform))
        self.find(ref)
        return ImageInspect(id=IMAGE_ID, repo_tags=["busybox:latest"], os="linux", size=5)

    async def history(self, ref: str, *, platform: str) -> Sequence[HistoryItem]:
        self.calls.append(("history", ref, platform))
        self.find(ref)
        return [HistoryItem(id=IMAGE_ID, created=1_700, created_by="COPY . .", size=10)]

    async def tag(self, ref: str, *, repo: str, tag: str) -> None:
        self.calls.append(("tag", ref, repo, tag))

    async def remove(
        self, ref: str, *, force: bool, prune: bool, platforms: Sequence[str]
    ) -> Sequence[ImageDeleteItem]:
        self.calls.append(("remove", ref, force, prune, *platforms))
        return [ImageDeleteItem(untagged="busybox:latest"), ImageDeleteItem(deleted=IMAGE_ID)]

    async def pull(
        self, image: str, *, tag: str, platform: str, auth: AuthConfig | None
    ) -> AsyncIterator[ProgressMessage]:
        self.calls.append(("pull", image, tag, platform, auth))
        return self._progress()

    async def _progress(self) -> AsyncIterator[ProgressMessage]:
        messages = [
            ProgressMessage(status="Pulling from library/busybox", id="latest"),
            ProgressMessage(
                status="Downloading", id="abc", progress_detail=ProgressDetail(current=1, total=2)
            ),
            ProgressMessage(status="Status: Downloaded newer image for busybox:latest"),
        ]
        for number, message in enumerate(messages):
            if number == self.fail_at:
                raise NotFoundError("manifest unknown")
            yield message

    async def bootstrap(self, name: str) -> AsyncIterator[ProgressMessage]:
        self.calls.append(("bootstrap", name))
        return self._progress()

    async def prune(self, filters: Filters) -> ImagesPruneResponse:
        self.calls.append(("prune", filters))
        return ImagesPruneResponse()


class FakeBuilds:
    """Reports every piece of the context as it comes in."""

    def __init__(self) -> None:
        self.options: BuildOptions | None = None
        self.received = 0
        self.cancelled: list[str] = []

    async def build(
        self, options: BuildOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[ProgressMessage]:
        self.options = options
        return self._run(body)

    async def _run(self, body: AsyncIterator[bytes]) -> AsyncIterator[ProgressMessage]:
        yield ProgressMessage(stream="Step 1/1 : FROM scratch\n")
        async for piece in body:
            self.received += len(piece)
            yield ProgressMessage(stream=f"received {self.received}\n")
        yield ProgressMessage(aux=Aux(id=IMAGE_ID))
        yield ProgressMessage(stream=f"Successfully built {IMAGE_ID[7:19]}\n")

    async def cancel(self, build_id: str) -> None:
        self.cancelled.append(build_id)

    async def compare_context(self, key: str, listing: bytes) -> tuple[str, list[int]]:
        return key, [len(listing)]

    async def output(self, token: str) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            yield f"output {token}".encode()

        return pieces()

    @contextlib.asynccontextmanager
    async def shell(self, token: str) -> AsyncGenerator[AttachedStream]:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        with theirs:
            theirs.sendall(f"shell {token}".encode())
        yield AttachedStream(tty=True, stdin=True, sock=ours)

    async def resize_shell(self, token: str, *, width: int, height: int) -> None:
        raise NotFoundError(f"no such shell of a build: {token} ({width}x{height})")

    async def prune(self, options: BuildPruneOptions) -> BuildPruneResponse:
        return BuildPruneResponse(space_reclaimed=options.reserved_space)


class FakeSystem:
    """A small engine."""

    def __init__(self) -> None:
        self.events_left = asyncio.Event()
        self.more_events = asyncio.Event()
        self.calls: list[tuple[object, ...]] = []

    async def version(self) -> Version:
        return Version(
            platform=PlatformName("kedge"),
            components=[ComponentVersion("Engine", "28.2.2", {"ApiVersion": "1.51"})],
            version="28.2.2",
            api_version="1.51",
            min_api_version="1.24",
            os="linux",
            arch="amd64",
        )

    async def info(self) -> Info:
        return Info(id="abc", containers=1, name="host", server_version="28.2.2", ncpu=2)

    async def events(self, options: EventsOptions) -> AsyncIterator[Event]:
        self.calls.append(("events", options))
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        try:
            await self.more_events.wait()
            yield Event(
                status="start",
                id=CONTAINER_ID,
                from_="busybox",
                type="container",
                action="start",
                actor=EventActor(CONTAINER_ID, {"name": "web"}),
                scope="local",
                time=1_700_000_000,
            )
        finally:
            self.events_left.set()

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        self.calls.append(("df", kinds))
        return DiskUsage(layers_size=9)


class FakeSearch:
    """Finds the term itself."""

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: AuthConfig | None
    ) -> Sequence[SearchItem]:
        return [SearchItem(star_count=limit, is_official=False, name=term, description="")]


class FakeRegistries:
    """A registry that takes everything."""

    def __init__(self) -> None:
        self.calls = list[tuple[str, object]]()

    async def push(
        self, name: str, *, tag: str, platform: str, auth: AuthConfig | None
    ) -> AsyncIterator[ProgressMessage]:
        self.calls.append(("push", (name, tag, platform, auth)))
        return self._pushed()

    async def _pushed(self) -> AsyncIterator[ProgressMessage]:
        yield ProgressMessage(aux=Aux(tag="1", digest="sha256:" + "0" * 64, size=7))

    async def auth(self, config: AuthConfig) -> AuthResponse:
        self.calls.append(("auth", config.username))
        return AuthResponse(status="Login Succeeded")

    async def inspect_remote(self, name: str, *, auth: AuthConfig | None) -> DistributionInspect:
        self.calls.append(("inspect", (name, auth)))
        return DistributionInspect(
            descriptor=OciDescriptor(
                media_type="application/vnd.oci.image.manifest.v1+json",
                digest="sha256:" + "0" * 64,
                size=7,
            ),
            platforms=[OciPlatform(architecture="arm64", os="linux", variant="v8")],
        )


class FakeBuildKit:
    """Sends back what a client says, with what it said about its session in front."""

    async def serve_control(self, stream: ByteStream) -> None:
        await stream.write(b"control:" + await stream.read())

    async def serve_session(self, identity: str, shared_key: str, stream: ByteStream) -> None:
        await stream.write(f"{identity}/{shared_key}:".encode() + await stream.read())


class FakeNetworks:
    """The default bridge."""

    async def list(self, filters: Filters) -> Sequence[Network]:
        filters.check_keys({"name", "id", "driver", "label", "scope", "type", "dangling"})
        return [Network(name="bridge", id="b" * 64, driver="bridge")]

    async def inspect(self, ref: str, *, scope: str) -> Network:
        if ref != "bridge":
            raise NotFoundError(f"network {ref} not found")
        return Network(name="bridge", id="b" * 64, driver="bridge", scope=scope or "local")

    async def create(self, request: NetworkCreateRequest) -> NetworkCreateResponse:
        return NetworkCreateResponse(id="c" * 64)

    async def remove(self, ref: str) -> None:
        raise ForbiddenError(f"{ref} is a pre-defined network and cannot be removed")

    async def connect(self, ref: str, request: NetworkConnectRequest) -> None:
        raise NotFoundError(f"network {ref} not found")

    async def disconnect(self, ref: str, request: NetworkDisconnectRequest) -> None:
        raise NotFoundError(f"network {ref} not found")

    async def prune(self, filters: Filters) -> NetworksPruneResponse:
        return NetworksPruneResponse()


class FakeFiles:
    """One container, ``web``, with the file ``/a``."""

    def __init__(self) -> None:
        self.written: list[tuple[str, ExtractOptions, bytes]] = []

    async def stat(self, ref: str, path: str) -> PathStat:
        if (ref, path) != ("web", "/a"):
            raise NotFoundError(f"Could not find the file {path} in container {ref}")
        return PathStat(name="a", size=1, mode=0o644, mtime="2024-01-01T00:00:00Z")

    async def read(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        return await self.stat(ref, path), _chunks([b"ta", b"r"])

    async def write(
        self, ref: str, path: str, options: ExtractOptions, body: AsyncIterator[bytes]
    ) -> None:
        del ref
        self.written.append((path, options, b"".join([piece async for piece in body])))

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        del ref
        return _chunks([b"all"])


class FakeArchives:
    """One image, ``busybox``."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    async def save(
        self,
        names: Sequence[str],
        *,
        platform: str,
        since: Sequence[str],
        without: Sequence[str],
    ) -> AsyncIterator[bytes]:
        self.calls.append(("save", *names, platform, *since, *without))
        return _chunks([b"tar"])

    async def layers(self, name: str) -> Sequence[LayerBlob]:
        self.calls.append(("layers", name))
        return [LayerBlob(digest="sha256:1", size=1)]

    async def missing_layers(self, digests: Sequence[str]) -> Sequence[str]:
        return list(digests)[1:]

    async def load(
        self, body: AsyncIterator[bytes], *, quiet: bool, platform: str
    ) -> AsyncIterator[ProgressMessage]:
        data = b"".join([piece async for piece in body])
        self.calls.append(("load", data, quiet, platform))
        return _messages([ProgressMessage(stream="Loaded image: busybox:latest\n")])

    async def commit(
        self, ref: str, options: CommitOptions, config: ContainerConfig | None
    ) -> CommitResponse:
        self.calls.append(("commit", ref, options, config))
        return CommitResponse(id=IMAGE_ID)

    async def import_image(
        self, source: str, options: ImportOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[ProgressMessage]:
        data = b"".join([piece async for piece in body])
        self.calls.append(("import", source, options, data))
        return _messages([ProgressMessage(status=IMAGE_ID)])


class FakeVolumes:
    """None."""

    async def list(self, filters: Filters) -> VolumeListResponse:
        del filters
        return VolumeListResponse()

    async def inspect(self, name: str) -> Volume:
        raise NotFoundError(f"get {name}: no such volume")

    async def create(self, request: VolumeCreateRequest) -> Volume:
        return Volume(name=request.name)

    async def remove(self, name: str, *, force: bool) -> None:
        if not force:
            raise NotFoundError(f"get {name}: no such volume")

    async def prune(self, filters: Filters, *, anonymous_only: bool) -> VolumesPruneResponse:
        return VolumesPruneResponse()


class FakeEngine:
    """All fake backends; make it inside a running loop."""

    def __init__(self) -> None:
        self.system = FakeSystem()
        self.containers = FakeContainers()
        self.files = FakeFiles()
        self.execs = FakeExecs()
        self.images = FakeImages()
        self.archives = FakeArchives()
        self.builds = FakeBuilds()
        self.buildkit = FakeBuildKit()
        self.networks = FakeNetworks()
        self.volumes = FakeVolumes()
        self.registries = FakeRegistries()
        self.search = FakeSearch()

    @property
    def backends(self) -> Backends:
        return Backends(
            system=self.system,
            containers=self.containers,
            files=self.files,
            execs=self.execs,
            images=self.images,
            image_archives=self.archives,
            builds=self.builds,
            buildkit=self.buildkit,
            networks=self.networks,
            volumes=self.volumes,
            registries=self.registries,
            search=self.search,
        )


async def _chunks(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _messages(messages: Sequence[ProgressMessage]) -> AsyncIterator[ProgressMessage]:
    for message in messages:
        yield message


async def _samples(count: int) -> AsyncIterator[Stats]:
    for number in range(count):
        yield Stats(id=CONTAINER_ID, name="/web", num_procs=number)
