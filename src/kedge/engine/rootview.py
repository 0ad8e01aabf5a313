"""A container's file system as the container sees it, volumes included, as one descriptor.

Of a running container it is the root of its own mount namespace, reached through /proc; of any
other one, a namespace that exists while somebody looks (`kedge.shim.rootview`). The engine enters
neither: every path is resolved by the kernel below the descriptor.
"""

import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from typing import Final

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.process import NetworkFiles
from kedge.errdefs import ConflictError
from kedge.oci.mounts import Mount
from kedge.shim.rootview import ViewRequest

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.asynccontextmanager
async def open_root(context: EngineContext, container: Container) -> AsyncGenerator[int]:
    """Enclose the use of a descriptor of the container's root directory.

    A container that does not run cannot be started meanwhile: two mounts of one writable layer
    would contradict each other.

    Raises:
        ConflictError: It ended just now.
    """
    if not container.record.alive:
        async with container.lock:
            if not container.record.alive:
                async with _open_stopped(context, container) as root:
                    yield root
                return
    root = await _open_running(container)
    try:
        yield root
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
    view = await context.spawner.open_root(
        ViewRequest(
            rootfs=context.snapshots.mounts(record.snapshot_key),
            mounts=_binds(context, container),
        )
    )
    try:
        root = os.open(f"/proc/self/fd/{await view.wait_root()}", _DIRECTORY)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        view.close()


def _binds(context: EngineContext, container: Container) -> tuple[Mount, ...]:
    """Return what a start would mount of the host, as far as it exists; parents first."""
    points = {
        point.destination: (point.source, () if point.rw else ("ro",))
        for point in container.record.mounts
        if point.type != "tmpfs" and point.source
    }
    files = NetworkFiles(context.paths.container_dir(container.id))
    for bind in files.binds():
        points.setdefault(bind.destination, (bind.source, ()))
    mounts = [
        Mount("bind", source, ("rbind", "rprivate", *options), destination)
        for destination, (source, options) in points.items()
        if os.path.exists(source)
    ]
    return tuple(sorted(mounts, key=lambda mount: mount.destination.rstrip("/").count("/")))
