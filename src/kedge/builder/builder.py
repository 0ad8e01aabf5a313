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
from typing import BinaryIO, Final

from kedge.builder.cache import BuildCache
from kedge.builder.cache_mounts import CacheMounts
from kedge.builder.dockerfile.instructions import Dockerfile
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.events import Event, ImageBuilt, ImageTagged
from kedge.builder.executor import Execution, build_scope
from kedge.builder.failures import BuildCancelledError
from kedge.builder.files.directory import DigestMemo, DirectoryTree
from kedge.builder.files.tar import TarTree, read_tar
from kedge.builder.parallel import Once
from kedge.builder.perform import Performer, Workshop
from kedge.builder.plan import plan_build
from kedge.builder.remote.downloads import Downloads
from kedge.builder.remote.fetching import Fetching
from kedge.builder.request import BuildRequest, BuildResult
from kedge.builder.run_mounts import RunMounts
from kedge.builder.run_step import RunStep
from kedge.builder.sources import Sources
from kedge.builder.state import StageState
from kedge.builder.steps import BaseResolver, StepRunner
from kedge.content.store import ContentStore
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.images.image import Image, NewLayer
from kedge.images.layering import Layering
from kedge.images.store import ImageStore
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.oci.platforms import host_platform
from kedge.oci.references import Reference, parse_reference
from kedge.snapshots.snapshotter import Snapshotter

_SYNTAX_ARG: Final = "BUILDKIT_SYNTAX"
_CACHE_NAMESPACE_ARG: Final = "BUILDKIT_CACHE_MOUNT_NS"
_KEEP_GIT_ARG: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_HOSTNAME_ARG: Final = "BUILDKIT_SANDBOX_HOSTNAME"
_OWN_FRONTENDS: Final = ("docker/dockerfile", "docker.io/docker/dockerfile", "dockerfile.v0")


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
        self._private = private or f"{scratch}-private"
        shutil.rmtree(self._private, ignore_errors=True)
        os.makedirs(self._private, mode=0o700)

    @property
    def cache(self) -> BuildCache:
        """The remembered steps."""
        return self._workshop.cache

    @property
    def cache_mounts(self) -> CacheMounts:
        """The folders RUN steps keep between builds."""
        return self._cache_mounts

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
    ) -> BuildResult:
        """Build an image, tag it, and return what was made.

        Args:
            request: What to build; the caller closes its context afterwards.
            on_event: Told what happens, from this thread.
            cancel: Set it to end the build between or inside steps.
            resolver: Finds base images for this build alone, with its user's credentials.

        Raises:
            DockerfileError: The Dockerfile cannot be understood; the message names the line.
            StepFailedError: A RUN failed.
            BuildCancelledError: ``cancel`` was set.
            KedgeError: Anything else, in one line; nothing half made is left.
        """
        names = [_tag(tag) for tag in request.tags]
        with self._fetching(request, cancel) as fetching:
            image, performer = self._built(request, fetching, names, on_event, cancel, resolver)
        on_event(ImageBuilt(image_id=image.id))
        for name in names:
            on_event(ImageTagged(name=name.familiar()))
        return BuildResult(
            image_id=image.id,
            tags=tuple(name.familiar() for name in names),
            cached_steps=len(performer.used_keys),
            executed_steps=len(performer.made_keys),
        )

    def _built(
        self,
        request: BuildRequest,
        fetching: Fetching,
        names: list[Reference],
        on_event: Callable[[Event], None],
        cancel: threading.Event,
        resolver: BaseResolver | None,
    ) -> tuple[Image, Performer]:
        sources = Sources(request, fetching, self._workshop.scratch)
        with sources, self._images.lease() as lease:
            given = sources.read_input()
            dockerfile = _parse(given.dockerfile, request)
            plan = plan_build(
                dockerfile,
                target=request.target,
                build_args=request.build_args,
                build_platform=self._workshop.host,
                target_platform=request.platform or self._workshop.host,
                contexts=request.contexts,
            )
            scope = build_scope(dockerfile, plan, request)
            performer = Performer(
                workshop=self._workshop,
                lease=lease,
                run_step=self._run_step(request, on_event, cancel),
                run_mounts=self._run_mounts(request, cancel),
                fetching=fetching,
                epoch_ns=scope.epoch_ns,
                no_cache=request.no_cache,
                on_event=on_event,
                cancel=cancel,
            )
            execution = Execution(
                scope, given.context, sources, resolver or self._resolver, performer
            )
            try:
                state = execution.run()
            finally:
                now_ns = self._workshop.clock.time_ns()
                self._workshop.cache.touch(performer.used_keys, now_ns)
            performer.check()
            return self._store(state, scope.epoch_ns, names), performer

    def _fetching(self, request: BuildRequest, cancel: threading.Event) -> Fetching:
        return Fetching(
            self._workshop.downloads,
            request.lent,
            memo=self._workshop.memo,
            scratch=self._workshop.scratch,
            keep_git_dir=request.build_args.get(_KEEP_GIT_ARG, "") in ("1", "true"),
            check=lambda: _check(cancel),
        )

    def _run_step(
        self, request: BuildRequest, on_event: Callable[[Event], None], cancel: threading.Event
    ) -> RunStep:
        return RunStep(
            self._runner,
            scratch=self._workshop.scratch,
            host_certs=request.host_certs,
            hostname=request.build_args.get(_HOSTNAME_ARG, ""),
            on_event=on_event,
            cancel=cancel,
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

    def _store(self, state: StageState, epoch_ns: int | None, names: list[Reference]) -> Image:
        unchanged = self._images.find(state.unchanged_id) if state.unchanged_id else None
        if unchanged is not None:
            for name in names:
                self._images.tag(unchanged.id, name)
            return unchanged
        layers = [NewLayer(layer.diff_id, layer.blob) for layer in state.layers]
        return self._images.create_image(state.image_config(epoch_ns), layers, names=names)


def _tag(text: str) -> Reference:
    name = parse_reference(text)
    if name.digest:
        raise InvalidParameterError(f"cannot tag a build with a digest: {text}")
    return name.with_default_tag()


def _check(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise BuildCancelledError("build cancelled")


def _parse(text: str, request: BuildRequest) -> Dockerfile:
    # An image configuration is JSON, which has no place for bytes that are no UTF-8.
    readable = text.encode(errors="surrogateescape").decode(errors="replace")
    dockerfile = parse_dockerfile(readable)
    syntax = request.build_args.get(_SYNTAX_ARG, dockerfile.syntax)
    if syntax and syntax.partition(":")[0].partition("@")[0] not in _OWN_FRONTENDS:
        raise NotSupportedError(
            f"syntax {syntax} is not supported: kedge understands docker/dockerfile itself; "
            "remove the line or name that"
        )
    return dockerfile
