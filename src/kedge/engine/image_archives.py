"""``save`` and ``load``: joins the archives of images to requests, progress and events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import BinaryIO, cast

from kedge.api.types.image import LayerBlob
from kedge.api.types.progress import ProgressDetail, ProgressMessage
from kedge.engine.commits import CommitService
from kedge.engine.context import EngineContext
from kedge.engine.pipe import BodyPipe
from kedge.engine.tarstream import stream_written
from kedge.engine.threadstream import ThreadStream
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.images.loading import ImageLoader, LayerProgress, Loaded
from kedge.images.saving import Saved, select_known, select_saved, write_images
from kedge.lib.ids import short_id
from kedge.oci.platforms import Platform, best_match, parse_platform

_Report = Loaded | LayerProgress


class ImageArchiveService(CommitService):
    """Satisfies the server's ``ImageArchiveBackend``."""

    async def save(
        self,
        names: Sequence[str],
        *,
        platform: str,
        since: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> AsyncIterator[bytes]:
        """Return the images as one tar stream.

        Args:
            names: Which.
            platform: Which they have to be for; empty is any.
            since: Images whose layers are left out.
            without: Digests of layers that are left out.

        Raises:
            NotFoundError: No such image, or not for this platform.
            InvalidParameterError: No names.
        """
        if not names:
            raise InvalidParameterError("no image to save: give names")
        context = self._context
        saved = await context.run_blocking(lambda: select_saved(context.images, names))
        if platform:
            _check_platform(saved, parse_platform(platform))
        known = await context.run_blocking(lambda: select_known(context.images, since))
        stream = _save(context, saved, known.union(without))
        await anext(stream)
        for item in saved:
            context.events.publish("image", "save", item.image.id, {"name": item.image.id})
        return stream

    async def layers(self, name: str) -> Sequence[LayerBlob]:
        """Return the layers of an image, base layer first.

        Raises:
            NotFoundError: No such image.
        """
        image = await self._context.run_blocking(lambda: self._context.images.resolve(name))
        return [
            LayerBlob(digest=layer.blob.digest, size=layer.blob.size)
            for layer in image.layers
            if layer.blob is not None
        ]

    async def missing_layers(self, digests: Sequence[str]) -> Sequence[str]:
        """Return those of the digests that are no layers here."""
        exists = self._context.images.content.exists
        return await self._context.run_blocking(lambda: [d for d in digests if not exists(d)])

    async def load(
        self, body: AsyncIterator[bytes], *, quiet: bool, platform: str
    ) -> AsyncIterator[ProgressMessage]:
        """Take up the images of an archive and say what they are.

        Raises:
            InvalidParameterError: A platform that is none; what fails later is the last message.
        """
        wanted = parse_platform(platform) if platform else None
        pipe = BodyPipe()
        stream = ThreadStream[_Report](self._context.jobs, on_close=pipe.abandon)
        filler = asyncio.create_task(pipe.fill(body))
        stream.run(lambda emit: self._load(pipe, wanted, emit))
        return self._load_messages(stream, filler, pipe, quiet=quiet)

    def _load(
        self, pipe: BodyPipe, platform: Platform | None, emit: Callable[[_Report], None]
    ) -> None:
        try:
            loader = ImageLoader(self._context.images, platform=platform, progress=emit)
            for loaded in loader.load(cast("BinaryIO", pipe)):
                emit(loaded)
        finally:
            pipe.abandon()

    async def _load_messages(
        self,
        stream: ThreadStream[_Report],
        filler: "asyncio.Task[None]",
        pipe: BodyPipe,
        *,
        quiet: bool,
    ) -> AsyncIterator[ProgressMessage]:
        try:
            async with stream:
                async for report in stream:
                    if isinstance(report, Loaded):
                        for message in self._loaded(report):
                            yield message
                    elif not quiet:
                        detail = ProgressDetail(current=report.size_bytes, total=report.size_bytes)
                        yield ProgressMessage(
                            status="Loading layer",
                            id=short_id(report.diff_id),
                            progress_detail=detail,
                        )
        finally:
            pipe.abandon()
            filler.cancel()
            await asyncio.gather(filler, return_exceptions=True)

    def _loaded(self, loaded: Loaded) -> list[ProgressMessage]:
        self._context.events.publish("image", "load", loaded.image.id, {"name": loaded.image.id})
        names = [f"Loaded image: {name.familiar()}\n" for name in loaded.names]
        lines = names or [f"Loaded image ID: {loaded.image.id}\n"]
        return [ProgressMessage(stream=line) for line in lines]


def _check_platform(saved: Sequence[Saved], wanted: Platform) -> None:
    for item in saved:
        here = item.image.config.image_platform()
        if best_match(wanted, [here]) is None:
            raise NotFoundError(
                f"image {item.image.short_id} was found but does not provide the specified"
                f" platform ({wanted}): it is for {here}"
            )


async def _save(
    context: EngineContext, saved: Sequence[Saved], known: frozenset[str]
) -> AsyncGenerator[bytes]:
    with context.images.lease() as lease:
        for item in saved:
            lease.add(*(layer.blob.digest for layer in item.image.layers if layer.blob))
            lease.add(item.image.id)
        for item in saved:
            # Whoever removes it forgets it first and then looks for leases.
            if context.images.find(item.image.id) is None:
                raise NotFoundError(f"No such image: {item.image.id}")
        yield b""
        async with contextlib.aclosing(
            stream_written(lambda out: write_images(context.images, saved, out, known=known))
        ) as pieces:
            async for piece in pieces:
                yield piece
