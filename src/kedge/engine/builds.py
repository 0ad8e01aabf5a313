"""``POST /build``: the request's context, the builder in a thread, its events as the stream."""

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, cast
from weakref import WeakValueDictionary

import msgspec

from kedge.api.options import BuildOptions, BuildPruneOptions
from kedge.api.streams import AttachedStream
from kedge.api.types.progress import ProgressMessage
from kedge.api.types.system import AuthConfig, BuildPruneResponse
from kedge.builder.builder import Builder
from kedge.builder.checks.calls import Call
from kedge.builder.classic import classic_error, classic_quiet, classic_stream
from kedge.builder.events import Answered, Event, PullProgress
from kedge.builder.files.kept import KeptContexts, parse_listing
from kedge.builder.files.tar import TarTree, read_tar
from kedge.builder.outlets import Outlets
from kedge.builder.request import BuildRequest
from kedge.builder.run_mounts import Lent
from kedge.builder.steps import BaseImage, StepLimits
from kedge.distribution.access import RegistryAccess
from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.progress import PullEvent
from kedge.distribution.pull import Puller
from kedge.distribution.registry import parse_registry_address
from kedge.engine.buildcache import BuildCacheService
from kedge.engine.buildcontexts import (
    body_contexts,
    check_call,
    check_entitlements,
    check_remote,
    without_folders,
)
from kedge.engine.buildoutputs import FetchedSinks, OutputDesk
from kedge.engine.buildshells import ShellDesk
from kedge.engine.cacheshelves import ContextShelf
from kedge.engine.context import EngineContext
from kedge.engine.failures import host_failure
from kedge.engine.images import make_credentials, pull_message
from kedge.engine.pipe import BodyPipe
from kedge.engine.steprunner import EngineStepRunner, check_step_limits
from kedge.engine.threadstream import ThreadStream
from kedge.errdefs import (
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    NotSupportedError,
    UnavailableError,
)
from kedge.images.image import Image
from kedge.lib import hostcerts
from kedge.lib.jsontypes import JsonObject
from kedge.oci.platforms import Platform, parse_platform
from kedge.oci.references import parse_reference


class EngineBaseResolver:
    """Satisfies the builder's ``BaseResolver``: the store first, then the registry."""

    def __init__(
        self,
        context: EngineContext,
        puller: Puller,
        auths: Mapping[str, AuthConfig] = MappingProxyType({}),
    ) -> None:
        """Look in ``context``'s store and pull with ``puller``, as ``auths`` says by registry."""
        self._context = context
        self._puller = puller
        self._auths: dict[str, AuthConfig] = {}
        for host, auth in auths.items():
            # What names no registry cannot be meant for the one of a base image.
            with contextlib.suppress(InvalidParameterError):
                self._auths[parse_registry_address(host)] = auth

    def credentials(self, domain: str) -> Credentials:
        """Return who the build's user is at a registry."""
        return make_credentials(self._auths.get(domain))

    def resolve(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> BaseImage:
        """Return the image, pulled where it is missing or ``pull`` asks for it, and unpacked."""
        image = None if pull else self._find(reference, platform)
        if image is None:
            name = parse_reference(reference).with_default_tag()

            def report(event: PullEvent) -> None:
                message = cast("JsonObject", msgspec.to_builtins(pull_message(event)))
                on_event(PullProgress(message=message))

            result = self._puller.pull(
                name,
                platform=platform,
                credentials=self.credentials(name.domain),
                progress=report,
                cancel=cancel,
            )
            image = result.image
        self._context.images.unpack(image)
        return BaseImage(
            id=image.id, config=image.config, layers=tuple(layer.blob for layer in image.layers)
        )

    def _find(self, reference: str, platform: Platform) -> Image | None:
        try:
            image = self._context.images.resolve(reference)
        except NotFoundError:
            return None
        here, wanted = image.config.image_platform().normalized(), platform.normalized()
        matches = (here.os, here.architecture) == (wanted.os, wanted.architecture)
        return image if matches else None


class BuildService:
    """Satisfies the server's ``BuildBackend``."""

    def __init__(
        self,
        context: EngineContext,
        puller: Puller,
        loop: asyncio.AbstractEventLoop,
        registries: RegistrySettings,
    ) -> None:
        """Open the builder on ``context``'s stores."""
        self._context = context
        self._puller = puller
        self._registries = registries
        self._desk = OutputDesk()
        self._contexts = KeptContexts(context.clock.time_ns)
        self._running: set[ThreadStream[Event]] = set()
        runner = EngineStepRunner(context, loop)
        self._shells = ShellDesk(runner)
        # A build's own thread keeps its entry alive.
        self._cancels = WeakValueDictionary[str, threading.Event]()
        self._builder = Builder(
            context.database,
            context.content,
            context.images,
            context.snapshots,
            runner,
            EngineBaseResolver(context, puller),
            scratch=context.paths.scratch,
            caches=context.paths.build_caches,
            folders=context.paths.build_contexts,
            private=context.paths.build_secrets,
            clock=context.clock,
        )
        self._builder.keeper.add(ContextShelf(self._contexts))
        self._cache = BuildCacheService(context, self._builder.keeper, loop)

    async def build(
        self, options: BuildOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[ProgressMessage]:
        """Build an image while its context still comes in.

        Raises:
            NotSupportedError: An option this builder does not have.
            InvalidParameterError: A platform that is none.
        """
        _refuse_unsupported(options)
        check_remote(options.remote)
        check_call(options.call)
        platforms = [parse_platform(text) for text in options.platform.split(",") if text]
        host_certs = self.host_certs(wanted=options.host_certs)
        limits = _limits(options)
        request = BuildRequest(
            remote=options.remote,
            dockerfile=options.dockerfile or "Dockerfile",
            tags=options.tags,
            build_args=_build_args(options),
            target=options.target,
            labels=options.labels,
            no_cache=options.no_cache,
            pull=options.pull,
            platform=platforms[0] if platforms else None,
            more_platforms=tuple(platforms[1:]),
            network_mode=options.network_mode or "default",
            extra_hosts=options.extra_hosts,
            host_certs=host_certs,
            limits=limits,
            entitlements=check_entitlements(options.entitlements),
            lent=Lent(secrets=options.secrets, agents=options.agents),
            outputs=options.outputs,
            attests=options.attests,
            cache_from=options.cache_from,
            cache_to=options.cache_to,
            no_cache_stages=options.no_cache_stages,
        )
        cancel = threading.Event()
        if options.build_id:
            self._cancels[options.build_id] = cancel
        pipe = BodyPipe()
        stream = ThreadStream[Event](self._context.jobs, on_close=cancel.set)
        filler = asyncio.create_task(pipe.fill(body))
        self._running = {stream, *(item for item in self._running if item.is_running)}
        bases = EngineBaseResolver(self._context, self._puller, options.auths)
        registries = RegistryAccess(self._registries, bases.credentials)

        def work(emit: Callable[[Event], None]) -> None:
            sinks = FetchedSinks(self._desk, emit, cancel)
            shells = self._shells.of_build(cancel) if options.debug_shell else None
            outlets = Outlets(
                sinks=sinks,
                registries=registries,
                shells=shells,
                shows_stages_at_once=options.side_by_side,
            )
            try:
                with contextlib.closing(registries):
                    self._work(request, options, pipe, _Ends(bases, outlets, emit, cancel))
            finally:
                self._cache.settle()

        stream.run(work)
        return self._messages(stream, filler, pipe, quiet=options.quiet)

    def _work(
        self,
        request: BuildRequest,
        options: BuildOptions,
        pipe: BodyPipe,
        ends: "_Ends",
    ) -> None:
        with ExitStack() as stack:
            stack.callback(pipe.abandon)
            try:
                if options.contexts or not request.remote:
                    request = self._with_body(request, options, pipe, stack)
                if options.call:
                    answer = self._builder.call(Call(options.call), request, ends.cancel)
                    ends.emit(Answered(answer=answer))
                    return
                self._builder.build(
                    request, ends.emit, ends.cancel, resolver=ends.bases, outlets=ends.outlets
                )
            except OSError as error:
                raise host_failure(error) from error

    def _with_body(
        self, request: BuildRequest, options: BuildOptions, pipe: BodyPipe, stack: ExitStack
    ) -> BuildRequest:
        """Return the request with the contexts that its body holds."""
        body: TarTree = read_tar(cast("BinaryIO", pipe), scratch=self._context.paths.scratch)
        if options.context_token:
            kept = self._contexts.take(options.context_token, body)
            stack.callback(kept.release)
            return dataclasses.replace(request, context=kept)
        stack.callback(body.close)
        contexts = body_contexts(options.contexts, body, self._context.images)
        visible = without_folders(body) if contexts else body
        context = None if request.remote else visible
        return dataclasses.replace(request, context=context, contexts=contexts)

    async def _messages(
        self,
        stream: ThreadStream[Event],
        filler: "asyncio.Task[None]",
        pipe: BodyPipe,
        *,
        quiet: bool,
    ) -> AsyncIterator[ProgressMessage]:
        convert = classic_quiet if quiet else classic_stream
        begun = False
        try:
            async with stream:
                async for event in stream:
                    for message in convert(event):
                        begun = True
                        yield _progress(message)
        except KedgeError as error:
            if not begun:
                raise
            yield msgspec.convert(classic_error(error), ProgressMessage)
        finally:
            pipe.abandon()
            filler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await filler

    async def cancel(self, build_id: str) -> None:
        """End the build that its client gave this id; one that is not there has ended."""
        cancel = self._cancels.get(build_id)
        if cancel is not None:
            cancel.set()

    @property
    def cache(self) -> BuildCacheService:
        """The build cache."""
        return self._cache

    async def prune(self, options: BuildPruneOptions) -> BuildPruneResponse:
        """Forget build cache and free what only it kept."""
        return await self._cache.prune(options)

    async def compare_context(self, key: str, listing: bytes) -> tuple[str, list[int]]:
        """Return a token for a build, and the positions of the listed files it has to bring.

        Raises:
            InvalidParameterError: The list is malformed.
        """
        return await self._context.run_blocking(
            lambda: self._contexts.compare(key, parse_listing(listing))
        )

    async def output(self, token: str) -> AsyncIterator[bytes]:
        """Return the bytes of an output as the build makes them.

        Raises:
            NotFoundError: No output waits under this token.
        """
        return self._desk.fetch(token)

    def shell(self, token: str) -> contextlib.AbstractAsyncContextManager[AttachedStream]:
        """Enclose the life of the shell of a step that failed."""
        return self._shells.open(token)

    async def resize_shell(self, token: str, *, width: int, height: int) -> None:
        """Set the size of a shell's terminal.

        Raises:
            NotFoundError: There is none.
        """
        await self._shells.resize(token, width=width, height=height)

    async def close(self) -> None:
        """Cancel every build and wait until nothing of them runs."""
        running, self._running = self._running, set()
        for stream in running:
            stream.close()
            await stream.wait()
        self._cache.close()

    @property
    def builder(self) -> Builder:
        """What builds, for other front doors."""
        return self._builder

    def registries(self, bases: EngineBaseResolver) -> contextlib.closing[RegistryAccess]:
        """Return registries with the credentials of ``bases``, closed by leaving the context."""
        return contextlib.closing(RegistryAccess(self._registries, bases.credentials))

    def host_certs(self, *, wanted: bool | None = None) -> str | None:
        """Return the bundle that RUN steps shall see, by the request, then the engine's setting."""
        setting, asked = self._context.settings.host_certs, wanted
        if wanted is None:
            wanted = hostcerts.has_own_certificates() if setting == "auto" else setting == "true"
        if not wanted:
            return None
        bundle = hostcerts.find_host_bundle()
        if bundle is None and asked:
            raise UnavailableError(
                "--host-certs: this host has no CA bundle: install ca-certificates"
            )
        return bundle


class _Ends(NamedTuple):
    """Whom one build talks to."""

    bases: EngineBaseResolver
    outlets: Outlets
    emit: Callable[[Event], None]
    cancel: threading.Event


def _progress(message: JsonObject) -> ProgressMessage:
    """Return a message on its way out; what only kedge's own client reads stays as it is."""
    aux = message.get("aux")
    if isinstance(aux, dict) and "ID" not in aux:
        return ProgressMessage(aux=msgspec.Raw(msgspec.json.encode(aux)))
    return msgspec.convert(message, ProgressMessage)


def _build_args(options: BuildOptions) -> dict[str, str]:
    """Return the build arguments; one without a value takes the engine's environment's."""
    args: dict[str, str] = {}
    for name, value in options.build_args.items():
        found = os.environ.get(name) if value is None else value
        if found is not None:
            args[name] = found
    return args


def _limits(options: BuildOptions) -> StepLimits:
    limits = StepLimits(
        memory_bytes=options.memory,
        memory_swap_bytes=options.memory_swap,
        cpu_shares=options.cpu_shares,
        cpu_period_us=options.cpu_period,
        cpu_quota_us=options.cpu_quota,
        cpuset_cpus=options.cpuset_cpus,
        cpuset_mems=options.cpuset_mems,
        shm_size_bytes=options.shm_size,
        ulimits=options.ulimits,
        cgroup_parent=options.cgroup_parent,
    )
    check_step_limits(limits)
    return limits


def _refuse_unsupported(options: BuildOptions) -> None:
    for value, flag in (
        (options.squash, "--squash"),
        (options.session, "a build session"),
        (options.security_opt, "--security-opt of a build"),
    ):
        if value:
            raise NotSupportedError(f"{flag} is not supported yet: leave it out")
