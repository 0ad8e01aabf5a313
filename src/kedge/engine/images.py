"""Image use cases: list, inspect, history, tag, remove, pull, prune, bootstrap."""

import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from kedge.api.options import ImageListOptions
from kedge.api.types.config import HealthConfig
from kedge.api.types.container import GraphDriver
from kedge.api.types.image import (
    HistoryItem,
    ImageConfig,
    ImageDeleteItem,
    ImageInspect,
    ImageMetadata,
    ImagesPruneResponse,
    ImageSummary,
    RootFS,
)
from kedge.api.types.progress import ProgressDetail, ProgressMessage
from kedge.api.types.system import AuthConfig
from kedge.api.types.wire import Empty
from kedge.distribution.credentials import ANONYMOUS, Credentials, decode_pair
from kedge.distribution.progress import PullEvent
from kedge.distribution.pull import Puller
from kedge.engine.bootstrap import BootstrapService
from kedge.engine.cacheshelves import PackageShelf
from kedge.engine.context import EngineContext
from kedge.engine.inspect import format_time
from kedge.engine.threadstream import ThreadStream
from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError
from kedge.images.image import Image, ImageUser, Removed
from kedge.lib.filters import Filters
from kedge.oci.platforms import best_match, parse_platform
from kedge.oci.references import Reference, parse_reference


class ImageService:
    """Satisfies the server's ``ImageBackend``."""

    def __init__(self, context: EngineContext, puller: Puller) -> None:
        """Work on ``context``'s store."""
        self._context = context
        self._puller = puller
        self.packages: Final = PackageShelf(os.path.join(context.paths.data_root, "packages"))
        """What a bootstrap fetches; a part of the build cache."""
        self._bootstrap = BootstrapService(context, self.packages)

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """Return the images that match, newest first."""
        store = self._context.images
        images = await self._context.run_blocking(
            lambda: store.list_images(options.filters, all_images=options.all)
        )
        shared = store.shared_bytes() if options.shared_size else None
        users = Counter(item.record.image_id for item in self._context.containers)
        return [
            self._summary(
                image, -1 if shared is None else shared.get(image.id, 0), containers=users[image.id]
            )
            for image in images
        ]

    def _summary(self, image: Image, shared: int, *, containers: int) -> ImageSummary:
        return ImageSummary(
            containers=containers,
            created=image.created_ns // 1_000_000_000,
            id=image.id,
            labels=dict(image.config.config.labels),
            parent_id=image.parent,
            repo_digests=image.repo_digests,
            repo_tags=image.repo_tags,
            shared_size=shared,
            size=image.size_bytes,
        )

    async def inspect(self, ref: str, *, platform: str) -> ImageInspect:
        """Return everything about one image.

        Raises:
            NotFoundError: ``No such image: …``.
        """
        image = self._resolve(ref, platform)
        config = image.config
        return ImageInspect(
            id=image.id,
            repo_tags=image.repo_tags,
            repo_digests=image.repo_digests,
            parent=image.parent,
            comment=config.comment or (config.history[-1].comment if config.history else ""),
            created=config.created,
            docker_version=config.docker_version,
            author=config.author,
            config=make_image_config(image),
            architecture=config.architecture,
            variant=config.variant,
            os=config.os,
            os_version=config.os_version,
            size=image.size_bytes,
            graph_driver=GraphDriver(name=self._context.snapshots.driver),
            root_fs=RootFS(layers=list(config.rootfs.diff_ids)),
            metadata=ImageMetadata(last_tag_time=format_time(image.last_tagged_ns)),
        )

    async def history(self, ref: str, *, platform: str) -> Sequence[HistoryItem]:
        """Return its steps, newest first."""
        image = self._resolve(ref, platform)
        return [
            HistoryItem(
                id=item.id,
                created=item.created_ns // 1_000_000_000,
                created_by=item.created_by,
                tags=[*item.tags] or None,
                size=item.size_bytes,
                comment=item.comment,
            )
            for item in self._context.images.history(image)
        ]

    async def tag(self, ref: str, *, repo: str, tag: str) -> None:
        """Give an image another name."""
        image = self._context.images.resolve(ref)
        name = parse_reference(f"{repo}:{tag}" if tag else repo)
        self._context.images.tag(image.id, name)
        self._publish("tag", image.id, name.with_default_tag().familiar())

    async def remove(
        self, ref: str, *, force: bool, prune: bool, platforms: Sequence[str]
    ) -> Sequence[ImageDeleteItem]:
        """Untag an image and delete it with its last tag.

        Raises:
            NotFoundError: No such image, or it is for none of ``platforms``.
        """
        context = self._context
        if platforms:
            check_platform(ref, context.images.resolve(ref), *platforms)
        removed = await context.run_blocking(
            lambda: context.images.remove(ref, users=self._users, force=force, prune=prune)
        )
        return self._announce_removal(removed)

    def _announce_removal(self, removed: Removed) -> Sequence[ImageDeleteItem]:
        for image_id, name in removed.untagged_ids:
            self._publish("untag", image_id, name)
        for image_id in removed.deleted_ids:
            self._publish("delete", image_id, image_id)
        return [
            ImageDeleteItem(untagged=line.untagged, deleted=line.deleted) for line in removed.lines
        ]

    def _users(self, image_id: str) -> Sequence[ImageUser]:
        return [
            ImageUser(container_id=item.id, running=item.record.active)
            for item in self._context.containers
            if item.record.image_id == image_id
            or any(plan.image_id == image_id for plan in item.record.mount_plans)
        ]

    async def pull(
        self, image: str, *, tag: str, platform: str, auth: AuthConfig | None
    ) -> AsyncIterator[ProgressMessage]:
        """Fetch an image and report how it goes.

        Raises:
            InvalidParameterError: No image name or platform; what fails later is the last message.
        """
        reference = _pull_reference(image, tag)
        wanted = parse_platform(platform) if platform else None
        cancel = threading.Event()
        stream = ThreadStream[PullEvent](self._context.jobs, on_close=cancel.set)
        stream.run(
            lambda emit: self._puller.pull(
                reference,
                platform=wanted,
                credentials=make_credentials(auth),
                progress=emit,
                cancel=cancel,
            )
        )
        return self._pull_messages(stream, reference)

    async def _pull_messages(
        self, stream: ThreadStream[PullEvent], reference: Reference
    ) -> AsyncIterator[ProgressMessage]:
        async with stream:
            async for event in stream:
                yield pull_message(event)
        self._publish("pull", reference.familiar(), reference.familiar_name)

    async def bootstrap(self, name: str) -> AsyncIterator[ProgressMessage]:
        """Make a base image from the distribution's packages."""
        return await self._bootstrap.bootstrap(name)

    async def prune(self, filters: Filters) -> ImagesPruneResponse:
        """Remove unused images: dangling ones, with ``dangling=false`` all without a container."""
        filters.check_keys(("dangling", "label", "label!", "until"))
        context = self._context
        dangling = filters.boolean("dangling", default=True)
        rest = {key: filters.get(key) for key in ("label", "until")}
        if dangling:
            rest["dangling"] = ("true",)
        response = ImagesPruneResponse()
        for image in context.images.list_images(Filters(rest), all_images=False):
            if self._users(image.id) or filters.excludes_labels(image.config.config.labels):
                continue
            for name in image.repo_tags or [image.id]:
                try:
                    removed = await context.run_blocking(
                        lambda name=name: context.images.remove(name, users=self._users)  # type: ignore[misc]
                    )
                except ConflictError:
                    continue
                response.images_deleted.extend(self._announce_removal(removed))
                response.space_reclaimed += removed.freed_bytes
        return response

    def _resolve(self, ref: str, platform: str) -> Image:
        image = self._context.images.resolve(ref)
        if platform:
            check_platform(ref, image, platform)
        return image

    def _publish(self, action: str, image_id: str, name: str) -> None:
        self._context.events.publish("image", action, image_id, {"name": name})


def check_platform(ref: str, image: Image, *wanted: str) -> None:
    """Refuse an image that is for none of the ``wanted`` platforms, in Docker's words.

    Raises:
        NotFoundError: It is for another one.
        InvalidParameterError: What is wanted is no platform.
    """
    here = image.config.image_platform()
    platforms = [parse_platform(text) for text in wanted]
    if all(best_match(platform, [here]) is None for platform in platforms):
        raise NotFoundError(
            f"image with reference {ref} was found but its platform ({here}) does not match "
            f"the specified platform ({', '.join(map(str, platforms))})"
        )


def make_image_config(image: Image) -> ImageConfig:
    """Return the defaults of ``image`` as the API shows them."""
    own = image.config.config
    health = own.healthcheck
    return ImageConfig(
        user=own.user,
        exposed_ports={port: Empty() for port in own.exposed_ports},
        env=list(own.env) or None,
        entrypoint=list(own.entrypoint) or None,
        cmd=list(own.cmd) or None,
        volumes={path: Empty() for path in own.volumes} or None,
        working_dir=own.working_dir,
        labels=dict(own.labels) or None,
        stop_signal=own.stop_signal,
        args_escaped=own.args_escaped,
        healthcheck=None
        if health is None
        else HealthConfig(
            test=list(health.test),
            interval=health.interval,
            timeout=health.timeout,
            start_period=health.start_period,
            start_interval=health.start_interval,
            retries=health.retries,
        ),
        on_build=list(own.on_build) or None,
        shell=list(own.shell) or None,
    )


def pull_message(event: PullEvent) -> ProgressMessage:
    """Return a line of the pull's progress as the API sends it."""
    detail = None
    if event.id:
        detail = ProgressDetail(current=event.current, total=event.total)
    return ProgressMessage(status=event.status, id=event.id, progress_detail=detail)


def make_credentials(auth: AuthConfig | None) -> Credentials:
    """Return what the registry client authenticates with; None is anonymous."""
    if auth is None:
        return ANONYMOUS
    username, password = auth.username, auth.password
    if not username and auth.auth:
        username, password = decode_pair(auth.auth)
    return Credentials(
        username=username,
        password=password,
        identity_token=auth.identitytoken,
        registry_token=auth.registrytoken,
    )


def _pull_reference(image: str, tag: str) -> Reference:
    if not image:
        raise InvalidParameterError("invalid reference format: no image name given")
    reference = parse_reference(image)
    if tag:
        separator = "@" if ":" in tag else ":"
        reference = parse_reference(f"{reference.name}{separator}{tag}")
    return reference.with_default_tag()
