"""After a start of the engine: make the records true and remove what belongs to nothing.

Whatever happened before (a clean stop, ``kill -9``, a power cut), in this order:

1. A container whose record says it lives is adopted when its shim answers. When only its exit
   status is left, that is recorded. When neither is there, shim and container are dead: 137.
2. A removal that was going on is finished.
3. Layers, bundles and folders without a record go: they are steps of a create, a remove or a
   build that did not reach its end.
4. The network drops the endpoints of everything that does not live.
"""

import asyncio
import os
import shutil

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.lifecycle import Lifecycle
from kedge.engine.process import cgroup_path
from kedge.engine.state import Status
from kedge.errdefs import KedgeError, NotFoundError
from kedge.shim.client import Shim
from kedge.shim.messages import ExitStatus
from kedge.shim.orphans import reap_orphan

_KILLED = 137


async def restore(context: EngineContext, lifecycle: Lifecycle) -> list[str]:
    """Bring memory, disk and kernel in line with each other.

    Returns:
        One line for each thing that could not be put right.
    """
    problems: list[str] = []
    adopted: list[tuple[Container, Shim]] = []
    ended: list[tuple[Container, ExitStatus]] = []
    for record in context.containers.store.load_all():
        container = context.containers.add(record)
        if not record.alive:
            continue
        shim = await _try_adopt(context, container)
        if shim is None:
            ended.append((container, await _reap(context, container)))
        else:
            adopted.append((container, shim))
    await _remove_strays(context, problems)
    active = [container.id for container, _ in adopted]
    report = await context.run_network(lambda: context.network.restore(active))
    problems.extend(report.problems)
    for container, shim in adopted:
        container.shim = shim
        lifecycle.watch(container, shim)
    for container, status in ended:
        await lifecycle.finish(container, status)
    for container in context.containers:
        await _finish_removal(context, lifecycle, container, problems)
    return problems


async def _try_adopt(context: EngineContext, container: Container) -> Shim | None:
    try:
        return await Shim.connect(context.paths.shim_dir(container.id))
    except (KedgeError, OSError):
        return None


async def _reap(context: EngineContext, container: Container) -> ExitStatus:
    run_dir = context.paths.shim_dir(container.id)
    status = await asyncio.to_thread(reap_orphan, run_dir, cgroup_path(container.id))
    if status is not None:
        return status
    return ExitStatus(exit_code=_KILLED, signal=9, exited_at_ns=context.clock.time_ns())


async def _remove_strays(context: EngineContext, problems: list[str]) -> None:
    known = {container.id for container in context.containers}
    alive = {container.id for container in context.containers if container.record.alive}
    for name in os.listdir(context.paths.shims):
        if name not in alive:
            path = context.paths.shim_dir(name)
            await asyncio.to_thread(reap_orphan, path, cgroup_path(name))
            shutil.rmtree(path, ignore_errors=True)
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
    for name in os.listdir(context.paths.scratch):
        shutil.rmtree(os.path.join(context.paths.scratch, name), ignore_errors=True)


async def _finish_removal(
    context: EngineContext, lifecycle: Lifecycle, container: Container, problems: list[str]
) -> None:
    record = container.record
    unfinished = record.status in {Status.REMOVING, Status.DEAD}
    forgotten = record.host_config.auto_remove and record.status is Status.EXITED
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
