"""BuildKit's API on this engine: clients of buildx and Compose in front of the one builder."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Protocol

from kedge import __version__
from kedge.api.options import BuildPruneOptions
from kedge.api.types.system import AuthConfig
from kedge.builder.checks.calls import Call
from kedge.builder.contexts import NamedContext, ResultContext
from kedge.builder.events import Event
from kedge.builder.files.directory import DirectoryTree
from kedge.builder.findings import Answer
from kedge.builder.outlets import Outlets
from kedge.builder.request import BuildRequest, BuildResult
from kedge.distribution.credentials import Credentials
from kedge.distribution.pull import Puller
from kedge.engine.buildcontexts import layout_context
from kedge.engine.builds import BuildService, EngineBaseResolver
from kedge.engine.context import EngineContext
from kedge.engine.failures import host_failure
from kedge.engine.images import make_credentials
from kedge.engine.steprunner import check_step_limits
from kedge.engine.system import engine_id
from kedge.lib.filters import Filters
from kedge.oci.hashing import chain_ids
from kedge.oci.platforms import Platform, host_platform

if TYPE_CHECKING:
    from kedge.builder.buildkit.answers import Usage
    from kedge.builder.buildkit.service import BuildkitServer, Pruning

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"


class ByteStream(Protocol):
    """A connection that was taken over."""

    async def read(self) -> bytes:
        """Return what came; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        ...


class BuildKitService:
    """Satisfies the server's ``BuildKitBackend``, and what BuildKit's services ask of an engine."""

    def __init__(self, context: EngineContext, builds: BuildService, puller: Puller) -> None:
        """Serve the builder of ``builds``; gRPC is imported when the first client comes."""
        self._context = context
        self._builds = builds
        self._puller = puller
        self._server: BuildkitServer | None = None

    async def serve_control(self, stream: ByteStream) -> None:
        """Answer a client's calls until its connection ends."""
        await self._services().serve_control(stream)

    async def serve_session(self, identity: str, shared_key: str, stream: ByteStream) -> None:
        """Keep a client's session until its connection ends."""
        services = self._services()
        from kedge.builder.buildkit.session import Session  # noqa: PLC0415 - see __init__

        await services.serve_session(Session(identity, shared_key=shared_key), stream)

    def close(self) -> None:
        """Cancel every build."""
        if self._server is not None:
            self._server.close()

    def _services(self) -> "BuildkitServer":
        if self._server is None:
            from kedge.builder.buildkit.service import BuildkitServer  # noqa: PLC0415

            self._server = BuildkitServer(self, self._builds.builder.folders)
        return self._server

    # -- what the services ask

    @property
    def version(self) -> str:
        """The engine's version."""
        return __version__

    @property
    def identity(self) -> str:
        """The engine's id."""
        return engine_id(self._context.paths.data_root)

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """What can be built and run here."""
        return (host_platform(),)

    @property
    def private(self) -> str:
        """A folder for sockets that only this engine's user may reach."""
        return self._context.paths.build_secrets

    @property
    def open_folder(self) -> Callable[[str], DirectoryTree]:
        """Makes a context of a folder."""
        return self._builds.builder.open_directory

    def build(
        self,
        request: BuildRequest,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
        *,
        find_user: Callable[[str], tuple[str, str]],
        outlets: Outlets,
    ) -> BuildResult:
        """Build, and write the outputs of the request.

        Raises:
            KedgeError: In one line, whatever went wrong.
        """
        check_step_limits(request.limits)
        bases = _SessionBases(self._context, self._puller, find_user)
        try:
            with self._builds.registries(bases) as registries:
                return self._builds.builder.build(
                    dataclasses.replace(request, host_certs=self._builds.host_certs()),
                    on_event,
                    cancel,
                    resolver=bases,
                    outlets=dataclasses.replace(outlets, registries=registries),
                )
        except OSError as error:
            raise host_failure(error) from error
        finally:
            self._builds.cache.settle()

    def call(self, call: Call, request: BuildRequest, cancel: threading.Event) -> Answer:
        """Answer a question about a Dockerfile."""
        return self._builds.builder.call(call, request, cancel)

    def layout_context(self, name: str, archive: BinaryIO, hold: ExitStack) -> NamedContext:
        """Return the image of an OCI layout as a named context, which stays with ``hold``."""
        images = self._context.images
        lease = hold.enter_context(images.lease())
        context = layout_context(name, archive, images)
        lease.add(*chain_ids(context.image.config.rootfs.diff_ids))
        return context

    def built_context(self, result: BuildResult, hold: ExitStack) -> NamedContext:
        """Return the result of a build as a named context, which stays as long as ``hold``."""
        chain = chain_ids(result.base.config.rootfs.diff_ids)
        hold.enter_context(self._context.images.lease()).add(*chain)
        return ResultContext(image=result.base)

    async def usage(self) -> "list[Usage]":
        """Return what the cache holds."""
        from kedge.builder.buildkit.answers import Usage  # noqa: PLC0415 - see __init__

        kept = await asyncio.to_thread(self._builds.builder.keeper.entries)
        return [
            Usage(
                id=one.item.id.removeprefix("sha256:")[:25],
                kind=one.item.kind,
                description=one.item.description,
                size_bytes=one.disk_bytes,
                is_used=one.item.is_used,
                is_shared=one.item.is_shared,
                created_ns=one.item.created_ns,
                last_used_ns=one.item.last_used_ns,
                uses=one.uses,
            )
            for one in kept
        ]

    async def prune(self, pruning: "Pruning") -> "list[Usage]":
        """Remove what ``pruning`` says and return it."""
        known = {one.id: one for one in await self.usage()}
        filters: dict[str, list[str]] = {}
        for each in pruning.filters:
            name, _, value = each.replace("==", "=").partition("=")
            filters.setdefault(name, []).append(value)
        if pruning.keep_ns:
            filters.setdefault("until", []).append(f"{pruning.keep_ns // 1_000_000_000}s")
        pruned = await self._builds.cache.prune(
            BuildPruneOptions(
                all=pruning.all,
                reserved_space=pruning.reserved_bytes,
                max_used_space=pruning.max_used_bytes,
                min_free_space=pruning.min_free_bytes,
                filters=Filters(filters),
            )
        )
        gone = [one.removeprefix("sha256:")[:25] for one in pruned.caches_deleted]
        return [known[one] for one in gone if one in known]


class _SessionBases(EngineBaseResolver):
    """Finds base images with the credentials of a client's session."""

    def __init__(
        self,
        context: EngineContext,
        puller: Puller,
        find_user: Callable[[str], tuple[str, str]],
    ) -> None:
        super().__init__(context, puller)
        self._find_user = find_user
        self._known: dict[str, Credentials] = {}

    def credentials(self, domain: str) -> Credentials:
        """Return who the client is at a registry, asked once in a build."""
        if domain not in self._known:
            host = _DOCKER_HUB_HOST if domain == _DOCKER_HUB else domain
            name, secret = self._find_user(host)
            auth = AuthConfig(username=name, password=secret)
            if secret and not name:
                auth = AuthConfig(identitytoken=secret)
            self._known[domain] = make_credentials(auth if secret else None)
        return self._known[domain]
