"""`Builder`: Dockerfile and context in, image out.

The one entry to this package for the engine. Synchronous: a build takes one thread, several
builds may run at once. What a killed engine leaves of a build is removed when the next one opens
its Builder.
"""

import dataclasses
import os
import shutil
import threading
from collections.abc import Callable
from typing import BinaryIO, Final, NamedTuple

import msgspec

from kedge.builder.attest.attesting import Attesting
from kedge.builder.cache import BuildCache
from kedge.builder.cache_mounts import CacheMounts
from kedge.builder.cachesession import CacheSession, Made
from kedge.builder.checks.around import BuildChecks
from kedge.builder.checks.calls import Call, answer_call
from kedge.builder.checks.checking import CheckRequest
from kedge.builder.clientfolders import ClientFolders
from kedge.builder.dockerfile.instructions import Dockerfile
from kedge.builder.events import Event
from kedge.builder.executor import BuildScope, Execution, build_scope
from kedge.builder.exporters.export import Exporting
from kedge.builder.exporters.result import BuiltImage
from kedge.builder.failures import BuildCancelledError
from kedge.builder.files.directory import DigestMemo, DirectoryTree
from kedge.builder.files.followed import expect
from kedge.builder.files.tar import TarTree, read_tar
from kedge.builder.findings import Answer
from kedge.builder.frontend import parse_wanted, readable
from kedge.builder.keeping import CacheKeeper
from kedge.builder.needed import needed_sources
from kedge.builder.outlets import NO_OUTLETS, Outlets
from kedge.builder.parallel import Once
from kedge.builder.perform import Performer, Workshop
from kedge.builder.plan import plan_build
from kedge.builder.remote.downloads import Downloads
from kedge.builder.remote.fetching import Fetching
from kedge.builder.request import BuildRequest, BuildResult
from kedge.builder.run_mounts import RunMounts
from kedge.builder.run_step import RunStep
from kedge.builder.sources import Input, Sources
from kedge.builder.steps import BaseImage, BaseResolver, StepRunner
from kedge.content.leases import Lease
from kedge.content.store import ContentStore
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.images.layering import Layering
from kedge.images.store import ImageStore
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.oci.image_spec import ImageConfig, encode_document
from kedge.oci.platforms import Platform, host_platform
from kedge.oci.references import Reference, parse_reference
from kedge.snapshots.snapshotter import Snapshotter

_CACHE_NAMESPACE_ARG: Final = "BUILDKIT_CACHE_MOUNT_NS"
_KEEP_GIT_ARG: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_HOSTNAME_ARG: Final = "BUILDKIT_SANDBOX_HOSTNAME"


class Builder:
    """Builds images for one engine."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        images: ImageStore,
        snapshots: Snapshotter,
        runner: StepRunner,
        resolver: BaseResolver,
        *,
        scratch: str,
        caches: str = "",
        folders: str = "",
        private: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Open the cache and remove what an earlier run left half built.

        Args:
            database: Keeps the cache records.
            content: Gets the layers' blobs.
            images: Gets the images.
            snapshots: Holds the layers.
            runner: Runs the RUN steps.
            resolver: Finds base images.
            scratch: Directory for temporary files, on a disk with room for a context.
            caches: Directory of cache mounts; next to ``scratch`` where none is given.
            folders: Directory of clients' folders; next to ``scratch`` where none is given.
            private: Directory for secrets, preferably no disk; emptied now.
            clock: Where times come from.
        """
        self._images = images
        self._runner = runner
        self._resolver = resolver
        self._workshop = Workshop(
            cache=BuildCache(database, images.lease),
            layering=Layering(snapshots, content, clock),
            memo=DigestMemo(clock),
            once=Once(),
            downloads=Downloads(scratch),
            clock=clock,
            scratch=scratch,
            host=host_platform(),
        )
        self._workshop.layering.remove_leftovers()
        self._cache_mounts = CacheMounts(database, caches or f"{scratch}-caches", clock)
        self.folders: Final = ClientFolders(folders or f"{scratch}-folders")
        """Folders of clients, kept between builds."""
        self._keeper = CacheKeeper(
            self._workshop.cache,
            self._cache_mounts,
            self.folders,
            images=images,
            root=scratch,
            clock=clock,
        )
        self._private = private or f"{scratch}-private"
        shutil.rmtree(self._private, ignore_errors=True)
        os.makedirs(self._private, mode=0o700)

    @property
    def cache(self) -> BuildCache:
        """The remembered steps."""
        return self._workshop.cache

    @property
    def keeper(self) -> CacheKeeper:
        """What looks after remembered steps and the folders RUN steps keep."""
        return self._keeper

    def open_directory(self, path: str) -> DirectoryTree:
        """Return a folder of the host as a build context; the caller closes it.

        Raises:
            InvalidParameterError: It is no folder.
        """
        return DirectoryTree(path, self._workshop.memo)

    def read_tar(self, stream: BinaryIO) -> TarTree:
        """Return the tar archive in ``stream`` as a build context; the caller closes it.

        Raises:
            InvalidParameterError: It is no tar archive.
            DataLossError: It is damaged or ends too early.
        """
        return read_tar(stream, scratch=self._workshop.scratch)

    def build(
        self,
        request: BuildRequest,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
        *,
        resolver: BaseResolver | None = None,
        outlets: Outlets = NO_OUTLETS,
    ) -> BuildResult:
        """Build an image for each platform, write the outputs, and return what was made.

        Args:
            request: What to build; the caller closes its context afterwards.
            on_event: Told what happens, from this thread.
            cancel: Set it to end the build between or inside steps.
            resolver: Finds base images for this build alone, with its user's credentials.
            outlets: Takes the outputs that leave the engine.

        Raises:
            DockerfileError: The Dockerfile cannot be understood; the message names the line.
            StepFailedError: A RUN failed.
            BuildCancelledError: ``cancel`` was set.
            KedgeError: Anything else, in one line; nothing half made is left.
        """
        names = [_tag(tag) for tag in request.tags]
        with (
            self._fetching(request, cancel) as fetching,
            Sources(request, fetching, self._workshop.scratch) as sources,
            self._images.lease() as lease,
        ):
            given = sources.read_input()
            checks = BuildChecks(self._check_request(request, given), on_event)
            checks.before()
            work = _Work(
                request=request,
                dockerfile=parse_wanted(given.dockerfile, request),
                given=given,
                sources=sources,
                fetching=fetching,
                lease=lease,
                resolver=resolver or self._resolver,
                caches=self._caches(request, outlets, on_event, cancel),
                begun_ns=self._workshop.clock.time_ns(),
                outlets=outlets,
                on_event=on_event,
                cancel=cancel,
            )
            made: list[Made] = []
            performers: list[Performer] = []
            built: list[BuiltImage] = []
            with checks:
                for platform in (request.platform or self._workshop.host, *request.more_platforms):
                    scope = self._scope(work, platform)
                    performers.append(self._performer(work, scope, platform))
                    built.append(self._build_one(work, scope, performers[-1], made))
            response = self._export(work, built, outlets, performers[0])
            response |= work.caches.export(made)
        return BuildResult(
            image_id=built[0].image_id,
            base=BaseImage(
                id=built[0].image_id,
                config=built[0].config,
                layers=tuple(layer.blob for layer in built[0].layers),
            ),
            tags=tuple(name.familiar() for name in names),
            cached_steps=sum(len(each.used_keys) for each in performers),
            executed_steps=sum(len(each.made_keys) for each in performers),
            response=response,
        )

    def call(self, call: Call, request: BuildRequest, cancel: threading.Event) -> Answer:
        """Return what is asked of a Dockerfile in place of building it.

        Args:
            call: The question.
            request: What would be built.
            cancel: Set it to end the fetching of a remote context.

        Raises:
            DockerfileError: The Dockerfile cannot be understood; checks answer that themselves.
            KedgeError: The Dockerfile cannot be read.
        """
        with (
            self._fetching(request, cancel) as fetching,
            Sources(request, fetching, self._workshop.scratch) as sources,
        ):
            given = sources.read_input()
            asked = self._check_request(request, given)
            asked = dataclasses.replace(asked, only_needed=False)
            return answer_call(call, asked, request.dockerfile)

    def _check_request(self, request: BuildRequest, given: Input) -> CheckRequest:
        return CheckRequest(
            text=readable(given.dockerfile),
            build_args=request.build_args,
            target=request.target,
            only_needed=True,
            ignored=given.ignored,
            contexts=tuple(request.contexts),
            build_platform=self._workshop.host,
            target_platform=request.platform or self._workshop.host,
            find_config=self._known_config,
        )

    def _known_config(self, reference: str, _platform: Platform) -> ImageConfig | None:
        try:
            return self._images.resolve(reference).config
        except KedgeError:
            return None

    def _export(
        self, work: "_Work", built: list[BuiltImage], outlets: Outlets, performer: Performer
    ) -> dict[str, str]:
        exporting = Exporting(
            images=self._images,
            layering=self._workshop.layering,
            lease=work.lease,
            sinks=outlets.sinks,
            registries=outlets.registries,
            stores=outlets.stores,
            epoch_ns=performer.epoch_ns,
            on_event=work.on_event,
            check=performer.check,
        )
        names = [_tag(tag) for tag in work.request.tags]
        return exporting.export(work.request.outputs, built, names)

    def _scope(self, work: "_Work", platform: Platform) -> BuildScope:
        plan = plan_build(
            work.dockerfile,
            target=work.request.target,
            build_args=work.request.build_args,
            build_platform=self._workshop.host,
            target_platform=platform,
            contexts=work.request.contexts,
        )
        expect(work.given.context, needed_sources(plan))

        def newest_ns(name: str) -> int | None:
            return work.sources.newest_ns(name, work.given)

        return build_scope(work.dockerfile, plan, work.request, newest_ns)

    def _performer(self, work: "_Work", scope: BuildScope, platform: Platform) -> Performer:
        return Performer(
            workshop=self._workshop,
            lease=work.lease,
            run_step=self._run_step(work),
            run_mounts=self._run_mounts(work.request, work.cancel),
            fetching=work.fetching,
            imports=work.caches.imports(platform),
            epoch_ns=scope.epoch_ns,
            no_cache=work.request.no_cache,
            on_event=work.on_event,
            cancel=work.cancel,
        )

    def _build_one(
        self, work: "_Work", scope: BuildScope, performer: Performer, made: "list[Made]"
    ) -> BuiltImage:
        execution = Execution(
            scope,
            work.given.context,
            work.sources,
            work.resolver,
            performer,
            at_once=work.outlets.shows_stages_at_once,
        )
        try:
            state = execution.run()
        finally:
            self._workshop.cache.touch(performer.used_keys, self._workshop.clock.time_ns())
        performer.check()
        keys = (*performer.used_keys, *performer.made_keys)
        made.append(Made(keys=keys, stages=execution.stages(), result=state.layers))
        unchanged_id = state.unchanged_id
        config = msgspec.structs.replace(
            state.image_config(scope.epoch_ns), inline_cache=work.caches.inline(made[-1])
        )
        if unchanged_id and self._images.has(unchanged_id):
            data = self._images.config_bytes(unchanged_id)
        else:
            unchanged_id, data = "", encode_document(config)
        image = BuiltImage(
            platform=state.platform,
            config=config,
            data=data,
            layers=tuple(state.layers),
            unchanged_id=unchanged_id,
        )
        if not work.request.attests:
            return image
        attesting = self._attesting(work, scope, performer)
        attestations = attesting.attest(image, keys, execution.bases())
        return dataclasses.replace(image, attestations=attestations)

    def _attesting(self, work: "_Work", scope: BuildScope, performer: Performer) -> Attesting:
        return Attesting(
            request=work.request,
            dockerfile=work.given.dockerfile,
            images=self._images,
            layering=self._workshop.layering,
            cache=self._workshop.cache,
            clock=self._workshop.clock,
            begun_ns=work.begun_ns,
            epoch_ns=scope.epoch_ns,
            fetching=work.fetching,
            check=performer.check,
        )

    def _caches(
        self,
        request: BuildRequest,
        outlets: Outlets,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> CacheSession:
        return CacheSession(
            request=request,
            outlets=outlets,
            images=self._images,
            cache=self._workshop.cache,
            on_event=on_event,
            check=lambda: _check(cancel),
        )

    def _fetching(self, request: BuildRequest, cancel: threading.Event) -> Fetching:
        return Fetching(
            self._workshop.downloads,
            request.lent,
            memo=self._workshop.memo,
            scratch=self._workshop.scratch,
            keep_git_dir=request.build_args.get(_KEEP_GIT_ARG, "") in ("1", "true"),
            check=lambda: _check(cancel),
        )

    def _run_step(self, work: "_Work") -> RunStep:
        return RunStep(
            self._runner,
            scratch=self._workshop.scratch,
            host_certs=work.request.host_certs,
            hostname=work.request.build_args.get(_HOSTNAME_ARG, ""),
            limits=work.request.limits,
            shells=work.outlets.shells,
            on_event=work.on_event,
            cancel=work.cancel,
        )

    def _run_mounts(self, request: BuildRequest, cancel: threading.Event) -> RunMounts:
        namespace = request.build_args.get(_CACHE_NAMESPACE_ARG, "")
        return RunMounts(
            self._cache_mounts,
            dataclasses.replace(request.lent, namespace=namespace),
            scratch=self._workshop.scratch,
            private=self._private,
            check=lambda: _check(cancel),
        )


class _Work(NamedTuple):
    """One build on its way."""

    request: BuildRequest
    dockerfile: Dockerfile
    given: Input
    sources: Sources
    fetching: Fetching
    lease: Lease
    resolver: BaseResolver
    caches: CacheSession
    begun_ns: int
    outlets: Outlets
    on_event: Callable[[Event], None]
    cancel: threading.Event


def _tag(text: str) -> Reference:
    name = parse_reference(text)
    if name.digest:
        raise InvalidParameterError(f"cannot tag a build with a digest: {text}")
    return name.with_default_tag()


def _check(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise BuildCancelledError("build cancelled")
