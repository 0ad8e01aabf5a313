"""The mounts of a container over its life: planned at create, given back at its removal.

At create the volumes a container names come into being, an empty one takes the image's content,
and the container is noted as a user. What is made here is taken back unless `created` is reached;
anonymous volumes appear in the very transaction that makes the container.
"""

import contextlib
import os
from collections.abc import Generator, Mapping, Sequence

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.api.types.container import MountPoint
from kedge.engine.context import EngineContext
from kedge.engine.failures import host_failure
from kedge.engine.mountplan import MountPlan
from kedge.engine.mounts import parse_mounts
from kedge.engine.record import ContainerRecord
from kedge.errdefs import InvalidParameterError, KedgeError, NotFoundError
from kedge.images.image import Image
from kedge.volumes.copyup import populate
from kedge.volumes.model import Volume


class NewMounts:
    """The mounts of a container that is being created."""

    def __init__(self, context: EngineContext, container_id: str) -> None:
        """Begin with none."""
        self._context = context
        self._container_id = container_id
        self._undo = contextlib.ExitStack()
        self._staged: list[Volume] = []
        self.plans: list[MountPlan] = []

    async def prepare(self, host: HostConfig, config: ContainerConfig, image: Image) -> None:
        """Decide all mounts, make the volumes they need and fill those that are new.

        Raises:
            KedgeError: A mount that cannot be, with Docker's text.
        """
        self.plans = parse_mounts(
            host,
            volumes=config.volumes,
            inherited=_inherited(self._context, host.volumes_from),
        )
        for plan in self.plans:
            match plan.kind:
                case "bind":
                    check_source(plan)
                case "image":
                    await self._take_image(plan)
                case "volume":
                    self._take_volume(plan)
                case "tmpfs":
                    pass
        for plan in self.plans:
            if plan.kind == "volume" and plan.copies_image and not plan.subpath:
                await self._fill(plan, image)

    async def _take_image(self, plan: MountPlan) -> None:
        context = self._context
        try:
            image = context.images.resolve(plan.source)
        except NotFoundError as error:
            # Not a 404, after which clients would pull the container's own image.
            raise InvalidParameterError(
                f'invalid mount config for type "image": {error}: pull it first'
            ) from None
        if image.chain_id and not context.snapshots.exists(image.chain_id):
            await context.run_blocking(lambda: context.images.unpack(image))
        plan.image_id = image.id

    def _take_volume(self, plan: MountPlan) -> None:
        volumes = self._context.volumes
        if plan.name:
            volume, made = volumes.create(
                plan.name,
                driver=plan.driver,
                options=plan.volume_options,
                labels=plan.volume_labels,
            )
            if made:
                announce_volume(self._context, volume, "create")
                self._undo.callback(self._remove_unused, volume)
        else:
            volume = volumes.stage(
                "", driver=plan.driver, options=plan.volume_options, labels=plan.volume_labels
            )
            self._staged.append(volume)
            self._undo.callback(volumes.discard, volume)
            plan.name = volume.name
        plan.driver = volume.driver
        volumes.acquire(plan.name, self._container_id)
        self._undo.callback(volumes.release, plan.name, self._container_id)

    def _remove_unused(self, volume: Volume) -> None:
        with contextlib.suppress(KedgeError):
            self._context.volumes.remove(volume.name)
            announce_volume(self._context, volume, "destroy")

    async def _fill(self, plan: MountPlan, image: Image) -> None:
        """Copy the image's content into an empty volume; a folder somewhere else counts too."""
        context, volumes = self._context, self._context.volumes
        staged = next((each for each in self._staged if each.name == plan.name), None)
        if staged is not None:
            folder, is_own, is_shown = volumes.staged_data(staged), not staged.options, False
        else:
            location = volumes.locate(plan.name)
            folder, is_own = location.path, location.is_own
            is_shown = any(
                user in context.containers and context.containers.get(user).record.alive
                for user in volumes.users(plan.name)
            )
        if not folder or not image.chain_id:
            return

        def fill() -> None:
            if not os.path.isdir(folder) or os.listdir(folder):
                return
            with context.snapshots.open_tree(image.chain_id) as stack:
                populate(stack, plan.destination, folder, is_shown=is_shown or not is_own)

        try:
            await context.run_blocking(fill)
        except OSError as error:
            raise host_failure(error) from error

    @contextlib.contextmanager
    def publishing(self) -> Generator[None, None, None]:
        """Make the anonymous volumes exist together with what the body writes."""
        with self._context.volumes.publishing(self._staged):
            yield

    def shown(self) -> list[MountPoint]:
        """Return the mounts as inspect shows them."""
        return [
            plan.shown(mountpoint(self._context, plan.name) if plan.kind == "volume" else "")
            for plan in self.plans
        ]

    def created(self) -> None:
        """Keep everything: the container exists."""
        self._undo.pop_all()
        for volume in self._staged:
            announce_volume(self._context, volume, "create")

    def undo(self) -> None:
        """Take back what was made, unless the container exists."""
        self._undo.close()


def check_source(plan: MountPlan) -> None:
    """Raise InvalidParameterError when a bind's source is missing and is not to be made."""
    if not plan.creates_source and not os.path.lexists(plan.source):
        raise InvalidParameterError(
            f'invalid mount config for type "bind": bind source path does not exist: {plan.source}'
        )


def mountpoint(context: EngineContext, name: str) -> str:
    """Return where the host sees a volume's content (for some, only while it is in use)."""
    if name in context.volumes and context.volumes.locate(name).fstype:
        return context.host_mounts.path(name)
    return context.volumes.mountpoint(name)


def hold_volumes(context: EngineContext, record: ContainerRecord) -> None:
    """Note a container that was found at start as a user of its volumes."""
    for plan in record.mount_plans:
        if plan.kind == "volume":
            context.volumes.acquire(plan.name, record.id)


def release_volumes(context: EngineContext, record: ContainerRecord) -> None:
    """Note that a container which is gone uses its volumes no more."""
    for plan in record.mount_plans:
        if plan.kind == "volume":
            context.volumes.release(plan.name, record.id)


def own_volumes(context: EngineContext, record: ContainerRecord) -> list[str]:
    """Return the anonymous volumes that nobody but this container uses."""
    return [
        plan.name
        for plan in record.mount_plans
        if plan.kind == "volume"
        and plan.is_anonymous
        and context.volumes.users(plan.name) in ([], [record.id])
    ]


def announce_volume(
    context: EngineContext, volume: Volume, action: str, extra: Mapping[str, str] | None = None
) -> None:
    """Publish that ``action`` happened to a volume."""
    context.events.publish(
        "volume", action, volume.name, {"driver": volume.driver, **(extra or {})}
    )


def _inherited(context: EngineContext, references: Sequence[str]) -> list[MountPlan]:
    """Return the mounts of the containers in ``--volumes-from``; a later one wins."""
    found: dict[str, MountPlan] = {}
    for text in references:
        reference, _, mode = text.partition(":")
        words = mode.split(",") if mode else []
        if not reference:
            raise InvalidParameterError(f"malformed volumes-from specification: {text}")
        if any(word not in {"ro", "rw", "z", "Z"} for word in words):
            raise InvalidParameterError(f"invalid mode: {mode}")
        try:
            container = context.containers.get(reference)
        except NotFoundError as error:
            # Not a 404, after which clients would pull the image and try again.
            raise InvalidParameterError(f"{error}: it is named by --volumes-from") from None
        for plan in container.record.mount_plans:
            found[plan.destination] = plan.inherited(is_writable="ro" not in words)
    return list(found.values())
