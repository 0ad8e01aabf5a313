"""Volumes as the API has them: create, list, inspect, remove, prune, and what they take up."""

import os
from collections.abc import Sequence
from typing import Final

from kedge.api.types.volume import (
    Volume,
    VolumeCreateRequest,
    VolumeListResponse,
    VolumesPruneResponse,
    VolumeUsage,
)
from kedge.engine.context import EngineContext
from kedge.engine.mounting import announce_volume, mountpoint
from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.clock import format_rfc3339
from kedge.lib.filters import Filters
from kedge.volumes import model
from kedge.volumes.usage import UNKNOWN, UsageMeter, directory_size

_LIST_KEYS: Final = ("dangling", "driver", "label", "name")
_PRUNE_KEYS: Final = ("all", "label", "label!")
# Long enough for most hosts to be measured whole, short enough for a person.
_PATIENCE_S: Final = 0.25


class VolumeService:
    """Satisfies the server's ``VolumeBackend``."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s volumes."""
        self._context = context
        self._meter = UsageMeter()

    def close(self) -> None:
        """Stop measuring."""
        self._meter.close()

    async def list(self, filters: Filters) -> VolumeListResponse:
        """Return the volumes that match."""
        filters.check_keys(_LIST_KEYS)
        dangling = filters.boolean("dangling", default=False)
        return VolumeListResponse(
            volumes=[
                self._shown(volume)
                for volume in self._context.volumes.all()
                if filters.matches_pattern("name", volume.name)
                and filters.matches_exactly("driver", volume.driver)
                and filters.matches_labels(volume.labels)
                and (
                    "dangling" not in filters
                    or dangling is not bool(self._context.volumes.users(volume.name))
                )
            ]
        )

    async def inspect(self, name: str) -> Volume:
        """Return one volume.

        Raises:
            NotFoundError: There is none, with Docker's text.
        """
        return self._shown(self._context.volumes.get(name))

    async def create(self, request: VolumeCreateRequest) -> Volume:
        """Make a volume, or return the one of that name.

        Raises:
            KedgeError: A bad name or option, no such driver, another driver's volume.
        """
        volume, made = self._context.volumes.create(
            request.name,
            driver=request.driver,
            options=request.driver_opts,
            labels=request.labels,
        )
        if made:
            announce_volume(self._context, volume, "create")
        return self._shown(volume)

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume nobody uses; with ``force`` one that does not exist is removed, too.

        Raises:
            NotFoundError: There is none.
            ConflictError: Containers use it.
        """
        try:
            volume = self._context.volumes.remove(name)
        except NotFoundError:
            if force:
                return
            raise
        self._meter.forget(name)
        announce_volume(self._context, volume, "destroy")
        self._context.workers.submit(self._context.volumes.purge)

    async def prune(self, filters: Filters, *, anonymous_only: bool) -> VolumesPruneResponse:
        """Remove the volumes nobody uses that match.

        Args:
            filters: ``label``, ``label!`` and ``all``.
            anonymous_only: Spare volumes with a name unless ``all`` is given (API 1.42).
        """
        filters.check_keys(_PRUNE_KEYS)
        context = self._context
        with_named = filters.boolean("all", default=not anonymous_only)
        response = VolumesPruneResponse()
        for volume in context.volumes.all():
            if (
                context.volumes.users(volume.name)
                or not (with_named or volume.is_anonymous)
                or not filters.matches_labels(volume.labels)
                or filters.excludes_labels(volume.labels)
            ):
                continue
            folder = self._own_folder(volume)
            size = await context.run_blocking(
                lambda folder=folder: directory_size(folder) if folder else 0  # type: ignore[misc]
            )
            try:
                await self.remove(volume.name, force=True)
            except ConflictError:  # a container took it while it was measured
                continue
            response.volumes_deleted.append(volume.name)
            response.space_reclaimed += size
        context.events.publish("volume", "prune", "", {"reclaimed": str(response.space_reclaimed)})
        return response

    async def usage(self) -> Sequence[Volume]:
        """Return the plain volumes with how many containers refer to them and their sizes.

        A size that cannot be had within a quarter of a second is the last known one, or -1.
        """
        # As Docker: what options put elsewhere may be large, slow, and somebody else's.
        volumes = [volume for volume in self._context.volumes.all() if not volume.options]
        own = {volume.name: self._own_folder(volume) for volume in volumes}
        sizes = await self._context.run_blocking(
            lambda: self._meter.sizes(own, patience_s=_PATIENCE_S)
        )
        return [self._with_usage(volume, sizes.get(volume.name, UNKNOWN)) for volume in volumes]

    def _with_usage(self, volume: model.Volume, size: int) -> Volume:
        shown = self._shown(volume)
        users = self._context.volumes.users(volume.name)
        shown.usage_data = VolumeUsage(ref_count=len(users), size=size)
        return shown

    def _own_folder(self, volume: model.Volume) -> str:
        """Return the folder that belongs to the volume alone; ``""`` for what lies elsewhere."""
        location = self._context.volumes.locate(volume.name)
        return location.path if location.is_own and os.path.isdir(location.path) else ""

    def _shown(self, volume: model.Volume) -> Volume:
        return Volume(
            created_at=f"{format_rfc3339(volume.created_ns).partition('.')[0]}Z",
            driver=volume.driver,
            labels=dict(volume.labels) or None,
            mountpoint=mountpoint(self._context, volume.name),
            name=volume.name,
            options=dict(volume.options) or None,
        )
