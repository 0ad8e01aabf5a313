"""The mounts of a container at its start: from plans to entries of the runtime specification.

Sources are looked up here: a folder `-v` wants is made, a volume's file system is mounted, an
image's layers are found. The symlinks of a subpath are left to the runtime, which resolves it in
the very step that mounts it.
"""

import os
import posixpath
from typing import Final

from kedge.archive.layered import LayerStack
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.idmaps import parse_id_map
from kedge.engine.mounting import announce_volume, check_source
from kedge.engine.mountplan import MountPlan
from kedge.engine.propagation import check_propagation
from kedge.engine.spec import BindMount
from kedge.engine.tmpfs import DEFAULTS
from kedge.errdefs import InvalidParameterError, NotFoundError, SystemFailureError

SUBPATH_OPTION: Final = "x-kedge.subpath"
# `mount_setattr` came with Linux 5.12; before, read-only cannot go below a mount.
_RECURSIVE_SINCE: Final = (5, 12)


async def open_mounts(
    context: EngineContext, container: Container, *, only_existing: bool = False
) -> list[BindMount]:
    """Return the mounts of ``container``, with everything they show in its place.

    What was mounted for it is given back by `close_mounts`, also after a failure.

    Args:
        context: The engine.
        container: One whose lock is held.
        only_existing: Leave out folders of the host that are not there.

    Raises:
        KedgeError: A source is missing or cannot be mounted, with Docker's text.
    """
    plans = container.record.mount_plans
    found: list[BindMount] = []
    for plan in plans:
        match plan.kind:
            case "bind":
                if not (only_existing and is_missing(plan.source)):
                    found.append(_bind(plan))
            case "volume":
                found.append(await _volume(context, container, plan))
            case "image":
                found.append(await context.run_blocking(lambda plan=plan: _image(context, plan)))  # type: ignore[misc]
            case "tmpfs":
                found.append(_tmpfs(plan))
    return found


def is_missing(source: str) -> bool:
    """Whether there is nothing on the host to be shown."""
    return not os.path.exists(source)


def announce_mounts(context: EngineContext, container: Container) -> None:
    """Publish that the volumes of ``container`` are in use by its processes."""
    for plan in _volumes(container):
        if plan.name in context.volumes:
            facts = {
                "container": container.id,
                "destination": plan.destination,
                "propagation": plan.propagation,
                "read/write": "true" if plan.is_writable else "false",
            }
            announce_volume(context, context.volumes.get(plan.name), "mount", facts)


async def close_mounts(context: EngineContext, container: Container) -> None:
    """Give back what the host had mounted for ``container``."""
    if any(_is_mounted(context, plan) for plan in _volumes(container)):
        await context.run_blocking(lambda: context.host_mounts.release(container.id))


def announce_unmounts(context: EngineContext, container: Container) -> None:
    """Publish that the processes of ``container`` use its volumes no more."""
    for plan in _volumes(container):
        if plan.name in context.volumes:
            volume = context.volumes.get(plan.name)
            announce_volume(context, volume, "unmount", {"container": container.id})


def recover_mounts(context: EngineContext) -> None:
    """Take up the host's mounts of running containers, after a restart of the engine."""
    users: dict[str, list[str]] = {}
    for container in context.containers:
        for plan in _volumes(container) if container.record.alive else ():
            if _is_mounted(context, plan):
                users.setdefault(plan.name, []).append(container.id)
    context.host_mounts.recover(users)


def _volumes(container: Container) -> list[MountPlan]:
    return [plan for plan in container.record.mount_plans if plan.kind == "volume"]


def _is_mounted(context: EngineContext, plan: MountPlan) -> bool:
    """Whether it is a volume the host has to mount."""
    return plan.name in context.volumes and bool(context.volumes.locate(plan.name).fstype)


def _bind(plan: MountPlan) -> BindMount:
    check_source(plan)
    if not os.path.lexists(plan.source):
        # Docker's rule for -v: a missing source becomes a folder.
        try:
            os.makedirs(plan.source, exist_ok=True)
        except OSError as error:
            raise SystemFailureError(
                f"error while creating mount source path '{plan.source}': mkdir {plan.source}: "
                f"{os.strerror(error.errno or 0).lower()}"
            ) from error
    check_propagation(plan.source, plan.propagation)
    options = ["rbind" if plan.is_recursive else "bind", plan.propagation or "rprivate"]
    return BindMount(
        source=plan.source,
        destination=plan.destination,
        options=(*options, *_access(plan)),
        id_map=parse_id_map(plan.id_map) if plan.id_map else None,
    )


async def _volume(context: EngineContext, container: Container, plan: MountPlan) -> BindMount:
    location = context.volumes.locate(plan.name)
    options: tuple[str, ...] = ("rbind", "rprivate")
    source = location.path
    if location.fstype:
        source = await context.run_blocking(
            lambda: context.host_mounts.acquire(plan.name, location, container.id)
        )
    elif location.options:
        options = (*location.options, "rprivate")
        _check_folder(source, context.volumes.mountpoint(plan.name))
    subpath = (f"{SUBPATH_OPTION}={plan.subpath}",) if plan.subpath else ()
    return BindMount(
        source=source,
        destination=plan.destination,
        options=(*options, *_access(plan), *subpath),
        own=location.is_own,
    )


def _check_folder(source: str, mountpoint: str) -> None:
    """Raise unless the folder a volume stands for is there, with Docker's text."""
    if not os.path.isdir(source):
        raise SystemFailureError(
            f"error while mounting volume '{mountpoint}': failed to mount local volume: "
            f"mount {source}:{mountpoint}, flags: 0x1000: no such file or directory"
        )


def _tmpfs(plan: MountPlan) -> BindMount:
    access = "rw" if plan.is_writable else "ro"
    return BindMount(
        kind="tmpfs",
        source="tmpfs",
        destination=plan.destination,
        options=(*DEFAULTS, access, *plan.options),
    )


def _image(context: EngineContext, plan: MountPlan) -> BindMount:
    """Show an image, or something in it, from its layers; never writable."""
    image = context.images.resolve(plan.image_id)
    if not image.chain_id:
        raise InvalidParameterError(f"image {plan.source} has no layers to mount")
    with LayerStack(context.snapshots.layer_paths(image.chain_id)) as stack:
        node = stack.lookup(plan.subpath)
        if node is None:
            raise NotFoundError(
                f"cannot access path {plan.subpath} of the image {plan.source}: "
                "no such file or directory"
            )
        top = stack.real_path(node)
    if not node.is_directory or len(node.layers) == 1:
        options = ("bind", "rprivate", "ro")
        return BindMount(source=top, destination=plan.destination, options=options, own=True)
    paths = context.snapshots.layer_paths(image.chain_id)
    layers = [posixpath.join(paths[layer], node.path) for layer in node.layers]
    lower = ":".join(layer.replace("\\", "\\\\").replace(":", "\\:") for layer in layers)
    return BindMount(
        kind="overlay",
        source="overlay",
        destination=plan.destination,
        options=("ro", f"lowerdir={lower}"),
        own=True,
    )


def _access(plan: MountPlan) -> tuple[str, ...]:
    if plan.is_writable:
        return ()
    if plan.readonly_below == "never" or not plan.is_recursive:
        return ("ro",)
    if _kernel() >= _RECURSIVE_SINCE:
        return ("ro", "rro")
    if plan.readonly_below == "must":
        raise InvalidParameterError(
            f"mount at {plan.destination}: read-only for all mounts below needs Linux 5.12"
        )
    return ("ro",)


def _kernel() -> tuple[int, ...]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or "0")
