"""A container's file system as the container sees it, volumes included, as one descriptor.

Of a running container it is the root of its own mount namespace, reached through /proc; of any
other one, a namespace that exists while somebody looks (`kedge.shim.rootview`). The engine enters
neither: every path is resolved by the kernel below the descriptor.
"""

import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.mountspecs import close_mounts, is_missing, open_mounts
from kedge.engine.process import NetworkFiles
from kedge.engine.propagation import PROPAGATIONS
from kedge.engine.rootids import RootIds, shown_to_container
from kedge.engine.spec import BindMount
from kedge.engine.userns import IdMaps, mapping_for, to_host
from kedge.errdefs import ConflictError
from kedge.oci.mounts import Mount
from kedge.shim.rootview import ViewMount, ViewRequest

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class OpenRoot(NamedTuple):
    """A container's root directory, open."""

    descriptor: int
    ids: RootIds


@contextlib.asynccontextmanager
async def open_root(context: EngineContext, container: Container) -> AsyncGenerator[OpenRoot]:
    """Enclose the use of the container's root directory.

    A container that does not run cannot be started meanwhile: two mounts of one writable layer
    would contradict each other.

    Raises:
        ConflictError: It ended just now.
    """
    maps = mapping_for(container.record.host_config, context.settings.id_maps)
    if not container.record.alive:
        async with container.held():
            if not container.record.alive:
                async with _open_stopped(context, container) as root:
                    yield OpenRoot(root, RootIds(maps, is_translated=False))
                return
    root = await _open_running(container)
    try:
        yield OpenRoot(root, RootIds(maps))
    finally:
        os.close(root)


async def _open_running(container: Container) -> int:
    """Return a descriptor of the root of the container's init, and of nobody who got its number."""
    gone = ConflictError(f"container {container.id} is not running any more: try again")
    if container.shim is None:
        raise gone
    try:
        process = os.pidfd_open(container.record.pid)
    except OSError:
        raise gone from None
    try:
        # Only its shim can reap the init. While the shim calls it alive, the number is its own,
        # and while the descriptor's process lives, so is the directory in /proc.
        await container.shim.pids()
        root = os.open(f"/proc/{container.record.pid}/root", _DIRECTORY)
        try:
            signal.pidfd_send_signal(process, 0)
        except BaseException:
            os.close(root)
            raise
    except OSError:
        raise gone from None
    finally:
        os.close(process)
    return root


@contextlib.asynccontextmanager
async def _open_stopped(context: EngineContext, container: Container) -> AsyncGenerator[int]:
    record = container.record
    try:
        mounts = await _view_mounts(context, container)
        rootfs = context.snapshots.mounts(record.snapshot_key)
        view = await context.spawner.open_root(ViewRequest(rootfs=rootfs, mounts=mounts))
        try:
            root = os.open(f"/proc/self/fd/{await view.wait_root()}", _DIRECTORY)
            try:
                yield root
            finally:
                os.close(root)
        finally:
            view.close()
    finally:
        await close_mounts(context, container)


async def _view_mounts(context: EngineContext, container: Container) -> tuple[ViewMount, ...]:
    """Return what a start would mount of the host, as far as it exists; parents first."""
    maps = mapping_for(container.record.host_config, context.settings.id_maps)
    files = NetworkFiles(context.paths.container_dir(container.id))
    found = {bind.destination: bind for bind in files.binds() if not is_missing(bind.source)}
    for bind in await open_mounts(context, container, only_existing=True):
        if bind.kind != "tmpfs":
            found[bind.destination] = bind
    views = [_view_mount(bind, maps) for bind in found.values()]
    return tuple(sorted(views, key=lambda view: view.mount.destination.rstrip("/").count("/")))


def _view_mount(bind: BindMount, maps: IdMaps | None) -> ViewMount:
    """Return the mount so that its files have the ids they have in the container."""
    # Propagation is about mounts that come and go while the container runs.
    options = tuple(option for option in bind.options if option not in PROPAGATIONS)
    mount = Mount(bind.kind, bind.source, (*options, "rprivate"), bind.destination)
    if bind.id_map is not None:
        uids, gids = (to_host(ranges, ()) for ranges in bind.id_map)
        return ViewMount(mount, tuple(uids), tuple(gids))
    if bind.own or maps is None:
        return ViewMount(mount)
    return ViewMount(mount, shown_to_container(maps.uids), shown_to_container(maps.gids))
