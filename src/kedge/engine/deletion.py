"""Taking a container away for good: layer, record, volumes in one transaction, then its files."""

import contextlib
import shutil

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.mounting import announce_volume, own_volumes, release_volumes
from kedge.engine.state import Status
from kedge.errdefs import KedgeError, NotFoundError


async def delete_container(context: EngineContext, container: Container) -> None:
    """Remove a container in state removing, and what it alone mounts where that was asked for.

    Raises:
        KedgeError: Layer or record cannot be removed; the container is dead then.
    """
    record = container.record
    volumes = own_volumes(context, record) if record.takes_volumes else []
    removed = [context.volumes.get(name) for name in volumes if name in context.volumes]
    durable = not record.host_config.auto_remove
    try:
        # A power cut may bring an --rm container back as one that has ended; `restore` removes
        # it then, so its user need not wait for the disk.
        with (
            context.volumes.removing(volumes, durable=durable),
            context.database.transaction(durable=durable),
        ):
            # A removal that a crash cut short may have got this far.
            with contextlib.suppress(NotFoundError):
                context.snapshots.remove(record.snapshot_key)
            context.containers.store.delete(record.id)
    except KedgeError as error:
        record.error = str(error)
        container.arrive(Status.DEAD, durable=True)
        raise
    context.containers.discard(container)
    release_volumes(context, record)
    for volume in removed:
        announce_volume(context, volume, "destroy")
    directory = context.paths.container_dir(record.id)
    await context.run_blocking(lambda: shutil.rmtree(directory, ignore_errors=True))
    context.workers.submit(context.snapshots.purge)
    if removed:
        context.workers.submit(context.volumes.purge)
