"""``POST /images/bootstrap``: base images from packages; joins the parts to network and spawner."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final

from kedge.api.types.progress import ProgressDetail, ProgressMessage
from kedge.builder.steps import StepSpec
from kedge.distribution.transport import Transport
from kedge.engine.cacheshelves import PackageShelf
from kedge.engine.context import EngineContext
from kedge.engine.steprunner import EngineStepRunner
from kedge.engine.threadstream import ThreadStream
from kedge.errdefs import NotFoundError, UnavailableError
from kedge.images.bootstrap.bootstrapper import Bootstrapper, BootstrapPlaces
from kedge.images.bootstrap.ports import BootstrapEvent, Step, StepEnd
from kedge.images.bootstrap.recipes import find_recipe

_HOSTNAME: Final = "kedge-bootstrap"
_OK: Final = 200
_TRY_AGAIN: Final = frozenset({408, 425, 429})


class MirrorFetcher:
    """Satisfies bootstrap's ``Fetcher`` with the HTTP client of pulls: same proxies, same trust."""

    def __init__(self) -> None:
        """Make no connection yet."""
        self._transport = Transport(peer="package mirror")

    @contextmanager
    def open(self, url: str) -> Generator[Iterator[bytes], None, None]:
        """Enclose the reading of a document."""
        with self._transport.send("GET", url, {}) as answer:
            if 400 <= answer.status < 500 and answer.status not in _TRY_AGAIN:
                raise NotFoundError(f"package mirror has no {url}")
            if answer.status != _OK:
                raise UnavailableError(
                    f"package mirror answers {answer.status} {answer.reason} to {url}"
                )
            yield answer.chunks()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()


class BootstrapRunner:
    """Satisfies bootstrap's ``StepRunner`` with the containers of builds."""

    def __init__(self, runner: EngineStepRunner) -> None:
        """Run steps with ``runner``."""
        self._runner = runner

    def run(
        self, step: Step, on_output: Callable[[bytes], None], cancel: threading.Event
    ) -> StepEnd:
        """Run ``step`` to its end, without a network."""
        spec = StepSpec(
            container_id=step.container_id,
            rootfs=step.rootfs,
            args=step.args,
            env=step.env,
            cwd="/",
            user="",
            network="none",
            hostname=_HOSTNAME,
            mounts=step.mounts,
        )
        result = self._runner.run(spec, lambda _stream, data: on_output(data), cancel)
        return StepEnd(result.exit_code, result.created_mountpoints)


class BootstrapService:
    """Makes base images and reports how it goes."""

    def __init__(self, context: EngineContext, packages: PackageShelf) -> None:
        """Make images for ``context``'s store of what is in ``packages`` or comes there."""
        self._context = context
        self._packages = packages

    async def bootstrap(self, name: str) -> AsyncIterator[ProgressMessage]:
        """Make the image ``name``.

        Raises:
            InvalidParameterError: There is no recipe for it; what fails later is the last message.
        """
        _, reference = find_recipe(name)
        cancel = threading.Event()
        stream = ThreadStream[BootstrapEvent](self._context.jobs, on_close=cancel.set)
        runner = BootstrapRunner(EngineStepRunner(self._context, asyncio.get_running_loop()))
        stream.run(lambda emit: self._make(name, runner, emit, cancel))
        return self._messages(stream, reference.familiar())

    def _make(
        self,
        name: str,
        runner: BootstrapRunner,
        emit: Callable[[BootstrapEvent], None],
        cancel: threading.Event,
    ) -> None:
        context = self._context
        fetcher = MirrorFetcher()
        try:
            with self._packages.lend() as packages:
                Bootstrapper(
                    context.images,
                    context.snapshots,
                    fetcher,
                    runner,
                    places=BootstrapPlaces(cache=packages, scratch=context.paths.scratch),
                    clock=context.clock,
                ).make(name, emit, cancel)
        finally:
            fetcher.close()

    async def _messages(
        self, stream: ThreadStream[BootstrapEvent], name: str
    ) -> AsyncIterator[ProgressMessage]:
        async with stream:
            async for event in stream:
                detail = None
                if event.id:
                    detail = ProgressDetail(current=event.current, total=event.total)
                yield ProgressMessage(status=event.status, id=event.id, progress_detail=detail)
        image = self._context.images.resolve(name)
        self._context.events.publish("image", "import", image.id, {"name": name})
