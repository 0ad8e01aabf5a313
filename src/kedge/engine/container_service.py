"""Container use cases, one method for each operation of the API; the work is done beside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence

from msgspec.structs import replace

from kedge.api.options import AttachOptions, ListOptions, LogOptions, WaitCondition
from kedge.api.streams import AttachedStream, OutputStream
from kedge.api.types.container import (
    ContainerInspect,
    ContainersPruneResponse,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    FilesystemChange,
    GraphDriver,
    TopResponse,
    UpdateRequest,
    UpdateResponse,
    WaitResponse,
)
from kedge.api.types.stats import Stats
from kedge.engine.announce import announce
from kedge.engine.attach import attach
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.create import create_container
from kedge.engine.defaults import MOUNT_STUBS
from kedge.engine.inspect import make_inspect, make_summary, show_layers
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.linking import link_names, shown_links
from kedge.engine.listing import select_containers
from kedge.engine.logs import open_log
from kedge.engine.running import running_shim
from kedge.engine.state import Status
from kedge.engine.stats import stream_stats
from kedge.engine.top import list_processes
from kedge.engine.update import update_container
from kedge.engine.writablesizes import WritableSizes
from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    NotFoundError,
    NotModifiedError,
)
from kedge.images.listing import parse_moment
from kedge.lib.filters import Filters


class ContainerService:
    """Satisfies the server's ``ContainerBackend``."""

    def __init__(self, context: EngineContext, lifecycle: Lifecycle) -> None:
        """Work on ``context``'s containers."""
        self._context = context
        self._lifecycle = lifecycle
        self._writable = WritableSizes()

    def _get(self, ref: str) -> Container:
        return self._context.containers.get(ref)

    async def create(self, request: CreateRequest, *, name: str, platform: str) -> CreateResponse:
        """Make a container."""
        return await create_container(self._context, request, name=name, platform=platform)

    async def list(self, options: ListOptions) -> Sequence[ContainerSummary]:
        """Return the containers that match, newest first."""
        now = self._context.clock.time_ns()
        aliases = link_names(self._context)
        chosen = select_containers(
            list(self._context.containers),
            options,
            find=self._get,
            ancestors=self._ancestor_ids,
            aliases=aliases,
        )
        summaries = [
            make_summary(item.record, image=self._image_name(item), now_ns=now) for item in chosen
        ]
        for item, summary in zip(chosen, summaries, strict=True):
            summary.names.extend(f"/{name}" for name in aliases.get(item.id, ()))
        if options.size:
            self._writable.keep(frozenset(item.id for item in self._context.containers))
            for item, summary in zip(chosen, summaries, strict=True):
                summary.size_rw, summary.size_root_fs = await self._sizes(item)
        return summaries

    def _image_name(self, container: Container) -> str:
        """Return the name the container was made from, or the id where the name moved on."""
        asked = container.record.config.image
        try:
            current = self._context.images.resolve(asked).id
        except NotFoundError:
            current = ""
        return asked if current == container.record.image_id else container.record.image_id

    def _ancestor_ids(self, text: str) -> frozenset[str]:
        try:
            image = self._context.images.resolve(text)
        except NotFoundError:
            return frozenset()
        return frozenset({image.id, *self._context.images.children(image.id)})

    async def _sizes(self, container: Container) -> tuple[int, int]:
        snapshots = self._context.snapshots
        own = self._writable.find(container)
        if own is None:
            put = self._writable.begin(container)
            own = await self._context.run_blocking(
                lambda: snapshots.usage(container.record.snapshot_key).size_bytes
            )
            put(own)
        try:
            image = self._context.images.get(container.record.image_id).size_bytes
        except NotFoundError:
            image = 0
        return own, own + image

    def _layers(self, container: Container) -> GraphDriver:
        snapshots = self._context.snapshots
        try:
            mounts = snapshots.mounts(container.record.snapshot_key)
        except NotFoundError:
            # It is being removed.
            mounts = ()
        return show_layers(snapshots.driver, mounts, container.record.pid)

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """Return everything about one container."""
        container = self._get(ref)
        shown = make_inspect(
            container.record,
            self._context.paths,
            exec_ids=list(container.exec_ids),
            layers=self._layers(container),
        )
        if container.record.host_config.links:
            links = shown_links(self._context, container)
            shown.host_config = replace(shown.host_config, links=links)
        if size:
            shown.size_rw, shown.size_root_fs = await self._sizes(container)
        return shown

    async def start(self, ref: str) -> None:
        """Start it."""
        await self._lifecycle.start(self._get(ref))

    async def stop(self, ref: str, *, signal: str, timeout_s: int | None) -> None:
        """Stop it."""
        await self._lifecycle.stop(self._get(ref), signal_name=signal, timeout_s=timeout_s)

    async def restart(self, ref: str, *, signal: str, timeout_s: int | None) -> None:
        """Stop it where it runs, then start it."""
        container = self._get(ref)
        if container.record.active:
            # An --rm container lives on through a restart.
            container.outlives_exit = True
            try:
                await self._lifecycle.stop(container, signal_name=signal, timeout_s=timeout_s)
            except NotModifiedError:
                pass
            finally:
                container.outlives_exit = False
        # Somebody else may have been faster to start it.
        with contextlib.suppress(NotModifiedError):
            await self._lifecycle.start(container)
        announce(self._context, container, "restart")

    async def kill(self, ref: str, *, signal: str) -> None:
        """Send a signal."""
        await self._lifecycle.kill(self._get(ref), signal)

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, or only the link that is called so."""
        if link:
            self._lifecycle.unlink(ref)
            return
        await self._lifecycle.remove(self._get(ref), force=force, volumes=volumes)

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResponse]:
        """Register for the condition; the returned awaitable gives the outcome."""
        container = self._get(ref)
        record = container.record
        match condition:
            case WaitCondition.NOT_RUNNING if not record.active:
                return _answer(record.exit_code)
            case WaitCondition.NOT_RUNNING | WaitCondition.NEXT_EXIT:
                return _answer_later(container.exited)
            case WaitCondition.REMOVED:
                return _answer_later(container.removed)

    async def attach(self, ref: str, options: AttachOptions) -> AttachedStream:
        """Attach to a created or running container."""
        return await attach(self._context, self._get(ref), options)

    async def logs(self, ref: str, options: LogOptions) -> OutputStream:
        """Return its log as the client shall get it."""
        return await open_log(self._context, self._get(ref), options)

    async def resize(self, ref: str, *, width: int, height: int) -> None:
        """Resize its terminal."""
        container = self._get(ref)
        await running_shim(container).resize(width, height)

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name."""
        container = self._get(ref)
        old = container.name
        if not name:
            raise InvalidParameterError("Neither old nor new names may be empty")
        if name.removeprefix("/") == old:
            raise InvalidParameterError(
                "Renaming a container with the same name as its current name"
            )
        async with container.held():
            self._lifecycle.rename(container, name.removeprefix("/"))
        announce(self._context, container, "rename", {"oldName": f"/{old}"})

    async def pause(self, ref: str) -> None:
        """Freeze its processes."""
        await self._lifecycle.pause(self._get(ref))

    async def unpause(self, ref: str) -> None:
        """Thaw its processes."""
        await self._lifecycle.unpause(self._get(ref))

    async def update(self, ref: str, request: UpdateRequest) -> UpdateResponse:
        """Change its limits; a field the request leaves at zero stays as it is."""
        container = self._get(ref)
        warnings = await update_container(container, request)
        self._lifecycle.oom.watch(container)
        announce(self._context, container, "update")
        return UpdateResponse(warnings=warnings)

    async def top(self, ref: str, ps_args: str) -> TopResponse:
        """Return its processes."""
        container = self._get(ref)
        shim = running_shim(container)
        announce(self._context, container, "top")
        return list_processes(await shim.pids(), ps_args)

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Stats]:
        """Return samples: one a second, or one alone."""
        return stream_stats(self._context, self._get(ref), stream=stream, one_shot=one_shot)

    async def changes(self, ref: str) -> Sequence[FilesystemChange]:
        """Return what it changed in its root filesystem."""
        key = self._get(ref).record.snapshot_key
        snapshots = self._context.snapshots
        found = await self._context.run_blocking(lambda: snapshots.changes(key, stubs=MOUNT_STUBS))
        return [FilesystemChange(path=item.path, kind=item.kind) for item in found]

    async def prune(self, filters: Filters) -> ContainersPruneResponse:
        """Remove the stopped containers that match."""
        filters.check_keys(("until", "label", "label!"))
        limits = [parse_moment(text, self._context.clock) for text in filters.get("until")]
        response = ContainersPruneResponse()
        for container in self._context.containers:
            record = container.record
            if (
                record.status not in {Status.CREATED, Status.EXITED, Status.DEAD}
                or any(record.created_ns >= limit for limit in limits)
                or not filters.matches_labels(record.config.labels)
                or filters.excludes_labels(record.config.labels)
            ):
                continue
            try:
                size, _ = await self._sizes(container)
                await self._lifecycle.remove(container, force=False)
            except (ConflictError, NotFoundError):
                # Somebody was faster to start or to remove it.
                continue
            response.containers_deleted.append(record.id)
            response.space_reclaimed += size
        return response


async def _answer(exit_code: int) -> WaitResponse:
    return WaitResponse(status_code=exit_code)


async def _answer_later(future: "asyncio.Future[int]") -> WaitResponse:
    # Shielded: a client that goes away must not cancel what others wait for.
    return WaitResponse(status_code=await asyncio.shield(future))
