"""After a start of the engine: make the records true and remove what belongs to nothing.

Whatever happened before (a clean stop, ``kill -9``, a power cut), in this order:

1. A container whose shim answers is adopted, whatever its record says: a crash between the start
   and its record leaves a running container that is recorded as created.
2. The network drops the endpoints of everything that does not live; of what does, a network that
   was being left is left, and one that was being joined is not joined. From here on names resolve
   again: containers wait for that, and for nothing of what follows.
3. Of the other containers that lived, an exit status that is left is recorded. When there is none,
   shim and container are dead: 137.
4. Layers, bundles and folders without a record go: they are steps of a create, a remove or a
   build that did not reach its end. After a repair of the store they stay, see
   `kedge.engine.storerepair`.
5. File systems of volumes that no running container uses are unmounted; the volumes themselves
   have been put right by `kedge.volumes.store` when it was opened.
6. A removal that was going on is finished, one that --rm asks for is done.
"""

import asyncio
import os
import shutil
from typing import Final

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.ending import end_shim
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.mounting import hold_volumes
from kedge.engine.mountspecs import recover_mounts
from kedge.engine.process import bundle_cgroup
from kedge.engine.state import Status
from kedge.engine.storerepair import may_remove_unknown
from kedge.errdefs import KedgeError, NotFoundError
from kedge.shim.client import Shim
from kedge.shim.messages import ExitStatus
from kedge.shim.orphans import killed_with_shim, reap_orphan

# As the shim names its states.
_RUNNING: Final = "running"
_PAUSED: Final = "paused"
_EXITED: Final = "exited"


async def restore(context: EngineContext, lifecycle: Lifecycle) -> list[str]:
    """Bring memory, disk and kernel in line with each other.

    Returns:
        One line for each thing that could not be put right.
    """
    problems: list[str] = list(context.store.problems)
    adopted, dead = await _find_shims(context)
    problems += [shim.refusal for _, shim in adopted if shim.refusal]
    running = [item for item in adopted if item[1].state != _EXITED]
    active = [container.id for container, _ in running]
    report = await context.run_network(lambda: context.network.restore(active))
    problems += report.problems
    problems += await lifecycle.answer_names(running)
    ended = [(container, await _reap(context, container)) for container in dead]
    await _remove_strays(context, problems)
    problems.extend(context.volumes.problems)
    recover_mounts(context)
    lifecycle.adopt(running)
    for container, shim in adopted:
        if shim.state == _EXITED:
            await lifecycle.finish(container, await shim.wait())
    for container, status in ended:
        await lifecycle.finish(container, status)
    for container in context.containers:
        await _finish_removal(context, lifecycle, container, problems)
    return problems


async def _find_shims(
    context: EngineContext,
) -> tuple[list[tuple[Container, Shim]], list[Container]]:
    """Return the containers whose shims answer, and those that died with theirs."""
    adopted: list[tuple[Container, Shim]] = []
    dead: list[Container] = []
    for record in context.containers.store.load_all():
        container = context.containers.add(record)
        hold_volumes(context, record)
        shim = await _try_adopt(context, container)
        if shim is not None:
            container.shim = shim
            adopted.append((container, shim))
        elif record.alive:
            dead.append(container)
    return adopted, dead


async def _try_adopt(context: EngineContext, container: Container) -> Shim | None:
    """Return the shim of a container whose life the record does not know the end of."""
    record, run_dir = container.record, context.paths.shim_dir(container.id)
    try:
        shim = await Shim.connect(run_dir)
    except (KedgeError, OSError):
        return None
    if not record.alive and not _is_news(container, shim):
        shim.close()
        return None
    _catch_up(container, shim)
    return shim


def _is_news(container: Container, shim: Shim) -> bool:
    """Whether the shim's container was started after the last start that is on record."""
    record = container.record
    startable = record.status in {Status.CREATED, Status.EXITED, Status.RESTARTING}
    return startable and shim.started is not None and shim.started.started_at_ns > record.started_ns


def _catch_up(container: Container, shim: Shim) -> None:
    record = container.record
    if shim.started is not None and not record.alive:
        record.note_start(shim.started.pid, shim.started.started_at_ns)
        container.arrive(Status.RUNNING)
    if shim.state == _PAUSED and record.status is Status.RUNNING:
        container.arrive(Status.PAUSED)
    if shim.state == _RUNNING and record.status is Status.PAUSED:
        container.arrive(Status.RUNNING)


async def _reap(context: EngineContext, container: Container) -> ExitStatus:
    run_dir = context.paths.shim_dir(container.id)
    status = await asyncio.to_thread(reap_orphan, run_dir, bundle_cgroup(run_dir, container.id))
    return status or killed_with_shim()


async def _remove_strays(context: EngineContext, problems: list[str]) -> None:
    known = {container.id for container in context.containers}
    alive = {container.id for container in context.containers if container.record.alive}
    may_remove = may_remove_unknown(context.paths)
    for name in os.listdir(context.paths.shims):
        if name not in known and not may_remove:
            problems.append(
                f"container {name} is not in the repaired metadata store: what still runs of it is "
                f"left alone, see {context.paths.shim_dir(name)}"
            )
        elif name not in alive:
            try:
                await _end_stray(context.paths.shim_dir(name), name)
            except (KedgeError, OSError) as error:
                problems.append(str(error))
    if may_remove:
        _remove_stray_files(context, known, problems)
    for name in os.listdir(context.paths.scratch):
        shutil.rmtree(os.path.join(context.paths.scratch, name), ignore_errors=True)


def _remove_stray_files(context: EngineContext, known: set[str], problems: list[str]) -> None:
    directory = os.path.dirname(context.paths.container_dir("x"))
    for name in os.listdir(directory):
        if name not in known:
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    keys = {container.record.snapshot_key for container in context.containers}
    for info in list(context.snapshots.walk()):
        if info.name.startswith("container-") and info.name not in keys:
            try:
                context.snapshots.remove(info.name)
            except KedgeError as error:
                problems.append(str(error))


async def _end_stray(run_dir: str, name: str) -> None:
    """End a shim nobody waits for: of a build step, or one whose exit is on record already."""
    try:
        shim = await Shim.connect(run_dir)
    except (KedgeError, OSError):
        await asyncio.to_thread(reap_orphan, run_dir, bundle_cgroup(run_dir, name))
    else:
        # Only the shim itself can leave; its cgroup alone would leave it behind.
        await end_shim(shim)
    shutil.rmtree(run_dir, ignore_errors=True)


async def _finish_removal(
    context: EngineContext, lifecycle: Lifecycle, container: Container, problems: list[str]
) -> None:
    record = container.record
    unfinished = record.status in {Status.REMOVING, Status.DEAD}
    forgotten = record.host_config.auto_remove and not record.alive
    if not unfinished and not forgotten and _has_layer(context, record.snapshot_key):
        return
    if not unfinished and not forgotten:
        problems.append(f"container {container.name}: its layer is gone: removing it")
    if record.status is Status.REMOVING:
        record.status = Status.DEAD
    try:
        await lifecycle.remove(container, force=True)
    except KedgeError as error:
        problems.append(f"container {container.name}: {error}")


def _has_layer(context: EngineContext, key: str) -> bool:
    try:
        context.snapshots.stat(key)
    except NotFoundError:
        return False
    return True
