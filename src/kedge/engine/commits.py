"""``commit`` and ``import``: images made from what a container changed, or from a tar stream."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO, Final, cast

import msgspec

from kedge.api.options import CommitOptions, ImportOptions
from kedge.api.types.config import ContainerConfig as ApiConfig
from kedge.api.types.image import CommitResponse
from kedge.api.types.progress import ProgressMessage
from kedge.archive.compression import decompress
from kedge.archive.entry import Entry
from kedge.archive.pump import Pump
from kedge.builder.changes import apply_changes
from kedge.distribution.transport import Transport
from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.defaults import MOUNT_STUBS
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.merge import merge_config
from kedge.engine.pipe import BodyPipe
from kedge.engine.state import Status
from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    NotFoundError,
    UnavailableError,
)
from kedge.images.image import Image, NewLayer
from kedge.images.layering import write_layer_blob
from kedge.images.unpack import PlannedLayer
from kedge.lib.clock import format_rfc3339
from kedge.lib.ids import new_id
from kedge.oci.hashing import chain_ids
from kedge.oci.image_spec import ContainerConfig, History, ImageConfig, RootFS
from kedge.oci.platforms import Platform, host_platform, parse_platform
from kedge.oci.references import Reference, parse_reference

_OK: Final = 200


class CommitService:
    """Makes images; the methods are those of the server's ``ImageArchiveBackend``."""

    def __init__(self, context: EngineContext, lifecycle: Lifecycle) -> None:
        """Work on ``context``'s containers and images."""
        self._context = context
        self._lifecycle = lifecycle

    async def commit(
        self, ref: str, options: CommitOptions, config: ApiConfig | None
    ) -> CommitResponse:
        """Make an image of a container's changes; it is paused meanwhile where that is asked for.

        Raises:
            NotFoundError: No such container.
            InvalidParameterError: A name or a change that is none.
        """
        context = self._context
        container = context.containers.get(ref)
        name = _name(options.repo, options.tag)
        base = context.images.find(container.record.image_id)
        platform = base.config.image_platform() if base else host_platform()
        own = _image_config(container.record.config)
        if config is not None:
            own = _image_config(merge_config(config, own))
        changed = apply_changes(own, options.changes, platform)
        pauses = options.pause and await self._try_pause(container)
        try:
            image = await context.run_blocking(
                lambda: self._commit(container, base, changed, options, name)
            )
        finally:
            if pauses:
                # Somebody may have ended or thawed it meanwhile.
                with contextlib.suppress(ConflictError, NotFoundError):
                    await self._lifecycle.unpause(container)
        facts = {"comment": options.comment, "imageID": image.id}
        announce(
            context, container, "commit", {**facts, "imageRef": name.familiar() if name else ""}
        )
        if name is not None:
            context.events.publish("image", "tag", image.id, {"name": name.familiar()})
        return CommitResponse(id=image.id)

    async def _try_pause(self, container: Container) -> bool:
        """Pause a container that runs; tell whether it is ours to let go on."""
        if container.record.status is not Status.RUNNING:
            return False
        try:
            await self._lifecycle.pause(container)
        except ConflictError:
            # Paused by somebody else, or ended: nothing changes in it either way.
            return False
        return True

    def _commit(
        self,
        container: Container,
        base: Image | None,
        config: ContainerConfig,
        options: CommitOptions,
        name: Reference | None,
    ) -> Image:
        context = self._context
        if base is None:
            raise NotFoundError(
                f"No such image: {container.record.image_id}: the image of container"
                f" {container.name} is gone, export the container instead"
            )
        key = container.record.snapshot_key
        with context.images.lease() as lease:
            written, blob = write_layer_blob(
                context.content,
                lease,
                f"commit {new_id()}",
                lambda out: context.snapshots.write_diff(key, out, change=_without_stubs),
            )
            layers = [NewLayer(layer.diff_id, layer.blob) for layer in base.layers]
            layers.append(NewLayer(written.diff_id, blob))
            diff_ids = [layer.diff_id for layer in layers]
            chain_id = chain_ids(diff_ids)[-1]
            lease.add(chain_id)
            context.images.unpack(base)
            planned = PlannedLayer(written.diff_id, chain_id, base.chain_id)
            context.images.unpacker.unpack(planned, lambda: context.content.open(blob.digest))
            now = format_rfc3339(context.clock.time_ns())
            history = History(
                created=now,
                created_by=" ".join(container.record.config.cmd or ()),
                author=options.author,
                comment=options.comment,
            )
            image_config = msgspec.structs.replace(
                base.config,
                created=now,
                author=options.author,
                comment=options.comment,
                config=config,
                rootfs=RootFS(diff_ids=diff_ids),
                history=[*base.config.history, history],
            )
            return context.images.create_image(
                image_config, layers, parent=base.id, names=[name] if name else []
            )

    async def import_image(
        self, source: str, options: ImportOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[ProgressMessage]:
        """Make an image of one layer from a tar stream: the body, or what a URL leads to.

        Raises:
            InvalidParameterError: The source, a name or a change is none, or it is no archive.
        """
        name = _name(options.repo, options.tag)
        platform = parse_platform(options.platform) if options.platform else host_platform()
        config = apply_changes(ContainerConfig(), options.changes, platform)

        def make(stream: BinaryIO) -> Image:
            return self._import(stream, config, platform, options.message, name)

        return self._import_messages(source, body, make, name)

    async def _import_messages(
        self,
        source: str,
        body: AsyncIterator[bytes],
        make: Callable[[BinaryIO], Image],
        name: Reference | None,
    ) -> AsyncIterator[ProgressMessage]:
        context = self._context
        if source == "-":
            image = await _from_body(context, body, make)
        else:
            url = source if "://" in source else f"http://{source}"
            if not url.startswith(("http://", "https://")):
                raise InvalidParameterError(f"cannot import {source}: use -, http:// or https://")
            yield ProgressMessage(status=f"Downloading from {url}")
            image = await context.run_job(lambda: _from_url(url, make))
        context.events.publish("image", "import", image.id, {"name": image.id})
        if name is not None:
            context.events.publish("image", "tag", image.id, {"name": name.familiar()})
        yield ProgressMessage(status=image.id)

    def _import(
        self,
        stream: BinaryIO,
        config: ContainerConfig,
        platform: Platform,
        message: str,
        name: Reference | None,
    ) -> Image:
        context = self._context

        def copy(out: BinaryIO) -> str:
            with decompress(stream, name="archive") as tar, Pump(tar) as pump:
                while piece := pump.read_chunk():
                    out.write(piece)
                return pump.digest

        with context.images.lease() as lease:
            diff_id, blob = write_layer_blob(context.content, lease, f"import {new_id()}", copy)
            lease.add(diff_id)
            planned = PlannedLayer(diff_id, diff_id, "")
            context.images.unpacker.unpack(planned, lambda: context.content.open(blob.digest))
            now = format_rfc3339(context.clock.time_ns())
            image_config = ImageConfig(
                created=now,
                architecture=platform.architecture,
                variant=platform.variant,
                os=platform.os,
                comment=message,
                config=config,
                rootfs=RootFS(diff_ids=[diff_id]),
                history=[History(created=now, comment=message)],
            )
            return context.images.create_image(
                image_config, [NewLayer(diff_id, blob)], names=[name] if name else []
            )


async def _from_body(
    context: EngineContext, body: AsyncIterator[bytes], make: Callable[[BinaryIO], Image]
) -> Image:
    pipe = BodyPipe()
    filler = asyncio.create_task(pipe.fill(body))
    try:
        return await context.run_job(lambda: make(cast("BinaryIO", pipe)))
    finally:
        pipe.abandon()
        filler.cancel()
        await asyncio.gather(filler, return_exceptions=True)


def _from_url(url: str, make: Callable[[BinaryIO], Image]) -> Image:
    transport = Transport(peer="server")
    try:
        with transport.send("GET", url, {}) as answer:
            if answer.status != _OK:
                raise UnavailableError(f"{url} answers {answer.status} {answer.reason}")
            return make(cast("BinaryIO", _Pieces(iter(answer.chunks()))))
    finally:
        transport.close()


class _Pieces:
    """Pieces of any size as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; empty at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = bytes(piece)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


def _without_stubs(entry: Entry) -> Entry | None:
    """Leave out files that are there only because something was mounted on them."""
    return None if not entry.size and entry.name in _STUB_FILES else entry


_STUB_FILES: Final = MOUNT_STUBS - {"proc", "sys", "dev", "dev/pts", "dev/shm"}


def _name(repo: str, tag: str) -> Reference | None:
    if not repo:
        return None
    name = parse_reference(f"{repo}:{tag}" if tag else repo)
    if name.digest:
        raise InvalidParameterError("cannot import digest reference")
    return name.with_default_tag()


def _image_config(config: ApiConfig) -> ContainerConfig:
    """Return the part of a container's configuration that an image keeps."""
    document = msgspec.to_builtins(config)
    kept = {key: value for key, value in document.items() if value is not None}
    return msgspec.convert(kept, ContainerConfig)
