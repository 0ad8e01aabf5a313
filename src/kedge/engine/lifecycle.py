"""Starting, ending and removing containers: the order of operations, and who undoes what.

A start goes

    addresses (IPAM) ─ files, bundle ─ spawner forks the shim ─┬─ shim: namespaces, mounts
                                                               └─ engine: veth, routes, ports
                       ─ created ─ start ─ record says running ─ watcher waits for the exit

and each step leaves its undo on an `AsyncExitStack`, so a failure at any point takes back what was
done before it. What only a crash can leave behind is found by `kedge.engine.restore`.

An exit is seen by the watcher alone, whoever caused it. It records the status first and lets the
shim go last, because the shim is what remembers the exit when the engine dies in between.
"""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.defaults import STOP_SIGNAL, STOP_TIMEOUT_S
from kedge.engine.deletion import delete_container
from kedge.engine.ending import end_shim
from kedge.engine.failures import exit_code_of, host_failure
from kedge.engine.health import HealthChecks, end_health
from kedge.engine.linking import linked_env, tell_linking, unlink
from kedge.engine.logsetup import make_log_config
from kedge.engine.mountspecs import (
    announce_mounts,
    announce_unmounts,
    close_mounts,
    open_mounts,
)
from kedge.engine.networking import ContainerNetwork
from kedge.engine.oomwatch import OomWatch
from kedge.engine.process import NetworkFiles, container_spec_input, write_bundle
from kedge.engine.requestchecks import runtime_command
from kedge.engine.restartpolicy import ends_policy
from kedge.engine.restarts import Restarts
from kedge.engine.running import running_shim
from kedge.engine.signals import parse_signal
from kedge.engine.state import Status
from kedge.engine.stopping import (
    KILL_GRACE_S,
    force_end,
    kill_for_removal,
    note_stop,
    wait_for_end,
)
from kedge.engine.userns import NO_MAPS, mapped_rootfs
from kedge.errdefs import (
    ConflictError,
    KedgeError,
    NotModifiedError,
    SystemFailureError,
)
from kedge.lib.ids import short_id
from kedge.shim.client import Shim
from kedge.shim.messages import CreateRequest, ExitStatus

_RETRY_S: Final = 1.0


class Lifecycle:
    """Moves containers between the states of `kedge.engine.state`."""

    def __init__(
        self, context: EngineContext, health: HealthChecks, *, warn: Callable[[str], None]
    ) -> None:
        """Work on ``context``; nothing is started, by no policy either before `resume_policies`."""
        self._context = context
        self._network = ContainerNetwork(context)
        self._health = health
        self._restarts = Restarts(
            context.containers, self._start_again, clock=context.clock, warn=warn
        )
        self._restarts.gather()
        self._warn = warn
        self._watchers: set[asyncio.Task[None]] = set()
        self.oom = OomWatch(context)

    async def start(self, container: Container) -> None:
        """Start a container that does not run.

        Raises:
            NotModifiedError: It runs.
            KedgeError: It cannot be started; its state says why and everything is taken back.
        """
        async with container.held() as record:
            if record.status is Status.PAUSED:
                raise ConflictError("cannot start a paused container, try unpause instead")
            if record.active:
                raise NotModifiedError(f"container {container.name} is already running")
            if record.status in {Status.REMOVING, Status.DEAD}:
                raise ConflictError(
                    f"container {short_id(record.id)} is marked for removal and cannot be started"
                )
            record.restart_count, record.backoff_ms, record.restart_at_ns = 0, 0, 0
            failure = await self._attempt(container)
        if failure is not None:
            if record.host_config.auto_remove:
                await self.remove(container, force=True)
            raise failure
        announce(self._context, container, "start")

    async def _start_again(self, container: Container) -> None:
        """Start by policy a container whose lock is held."""
        failure = await self._attempt(container)
        if failure is not None:
            raise failure
        announce(self._context, container, "start")

    async def _attempt(self, container: Container) -> KedgeError | None:
        """Start a container whose lock is held; on failure take everything back and say why."""
        record = container.record
        try:
            async with contextlib.AsyncExitStack() as undo:
                await self._start(container, undo)
                undo.pop_all()
        except (KedgeError, OSError) as error:
            failure = error if isinstance(error, KedgeError) else host_failure(error)
            container.drop_waiting()
            record.error = str(failure)
            record.exit_code = exit_code_of(str(failure))
            # The failure may be the very disk that is full.
            with contextlib.suppress(SystemFailureError):
                container.save()
            return failure
        return None

    async def _start(self, container: Container, undo: contextlib.AsyncExitStack) -> None:
        context, record = self._context, container.record
        files = NetworkFiles(context.paths.container_dir(record.id))
        run_dir = context.paths.shim_dir(record.id)
        undo.callback(shutil.rmtree, run_dir, ignore_errors=True)
        own_netns = self._network.needs_namespace(container)
        if not container.is_settled:
            await self._settle(container)
        if own_netns:
            undo.push_async_callback(self._network.release, container)
        await self._network.allocate(container, files)
        namespace = "" if own_netns else self._network.namespace_path(container)
        undo.push_async_callback(close_mounts, context, container)
        mounts = await open_mounts(context, container)
        plan = container_spec_input(
            context,
            container,
            files=files,
            mounts=mounts,
            network_namespace=namespace,
            links=linked_env(context, container),
        )
        write_bundle(run_dir, plan)
        uids, gids = plan.id_maps or NO_MAPS
        shim = await context.spawner.create(
            CreateRequest(
                id=record.id,
                bundle=run_dir,
                run_dir=run_dir,
                cgroup_path=plan.cgroup_path,
                rootfs=mapped_rootfs(context.snapshots.mounts(record.snapshot_key), plan.id_maps),
                terminal=record.config.tty,
                stdin=record.config.open_stdin,
                stdin_once=record.config.stdin_once,
                own_netns=own_netns,
                uid_mappings=uids,
                gid_mappings=gids,
                user_namespace=plan.user_namespace,
                dns_port=self._network.dns_port(container),
                log=await make_log_config(context, record),
                runtime=runtime_command(context.settings, record.host_config),
            )
        )
        undo.push_async_callback(end_shim, shim)
        container.shim = shim
        undo.callback(setattr, container, "shim", None)
        connecting = asyncio.ensure_future(self._network.connect(container, shim))
        try:
            await shim.wait_created()
        finally:
            # Also after a failure: the veth must be known before it is taken down.
            await asyncio.wait([connecting])
        connecting.result()
        await self._pass_on_attached(container, shim)
        await self._run(container, shim)

    async def _run(self, container: Container, shim: Shim) -> None:
        """Let the program of a container that is made begin."""
        announce_mounts(self._context, container)
        # A crash from here on leaves a container that runs: its addresses must be on record.
        container.save()
        started = await shim.start()
        container.record.note_start(started.pid, started.started_at_ns)
        container.become(Status.RUNNING)
        tell_linking(self._context, container)
        self.watch(container, shim)

    async def _pass_on_attached(self, container: Container, shim: Shim) -> None:
        waiting, container.waiting_attaches = container.waiting_attaches, []
        for session in waiting:
            await session.hand_over(shim)

    async def answer_names(self, adopted: Sequence[tuple[Container, Shim]]) -> list[str]:
        """Answer what the containers of an earlier engine ask for names.

        Returns:
            One line for each whose networks could not be put right.
        """
        problems: list[str] = []
        for container, _ in adopted:
            try:
                await self._network.finish_changes(container)
            except KedgeError as error:
                problems.append(f"container {container.name}: {error}")
            self._network.publish(container)
        for container, shim in adopted:
            await self._network.take_up(container, shim)
        return problems

    def adopt(self, adopted: Sequence[tuple[Container, Shim]]) -> None:
        """Look after the containers an earlier engine has started."""
        for container, shim in adopted:
            self.watch(container, shim)

    def rename(self, container: Container, name: str) -> None:
        """Give a container whose lock is held another name, in its networks, too."""
        old = container.name
        self._context.containers.rename(container, name)
        self._network.rename(container)
        try:
            container.save(durable=True)
        except SystemFailureError:
            self._context.containers.rename(container, old)
            self._network.rename(container)
            raise

    def unlink(self, reference: str) -> None:
        """Take away the link ``parent/alias``, also from who has it and runs.

        Raises:
            ConflictError: It is the name of a container.
            NotFoundError: No such container or link.
        """
        container = unlink(self._context, reference)
        if container.record.alive:
            self._network.publish(container)

    def watch(self, container: Container, shim: Shim) -> None:
        """Record the container's exit when it comes; until then its health is checked."""
        self._keep(asyncio.create_task(self._watch(container, shim)))
        self._health.watch(container)
        self.oom.watch(container)
        shim.on_log_gap = partial(self._warn_of_gap, container)

    def _warn_of_gap(self, container: Container, missing_bytes: int, reason: str) -> None:
        what = f"{missing_bytes} bytes of its output were" if missing_bytes else "its output is"
        self._warn(f"container {container.name}: {what} not kept: {reason}")

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _watch(self, container: Container, shim: Shim) -> None:
        status = await shim.wait()
        await self.finish(container, status)

    async def finish(self, container: Container, status: ExitStatus) -> None:
        """Record an exit, release what the container held, and remove it if it asked for that."""
        record = container.record
        async with container.lock:
            shim, container.shim = container.shim, None
            record.pid = 0
            record.exit_code = status.exit_code
            if status.oom_killed and not record.oom_killed:
                record.oom_killed = True
                announce(self._context, container, "oom")
            record.finished_ns = status.exited_at_ns
            self._health.leave(container)
            end_health(container)
            comes_back = self._restarts.plan(container)
            saved = container.arrive(Status.RESTARTING if comes_back else Status.EXITED)
            seconds = max(0, record.finished_ns - record.started_ns) // 1_000_000_000
            announce(
                self._context,
                container,
                "die",
                {"exitCode": str(status.exit_code), "execDuration": str(seconds)},
            )
            # Those who wait are answered now: the kernel's slow tear-down is awaited below, before
            # an address or a name is given out again.
            container.announce_exit()
            released, _ = await asyncio.gather(self._try_release(container), _dispose(shim))
            await close_mounts(self._context, container)
            announce_unmounts(self._context, container)
            shutil.rmtree(self._context.paths.shim_dir(record.id), ignore_errors=True)
            container.is_settled = saved and released
            if comes_back:
                # What is not settled is tried again by the start.
                self._restarts.schedule(container)
                return
        if not container.is_settled:
            self._keep(asyncio.create_task(self._settle_later(container)))
        elif record.host_config.auto_remove and not container.outlives_exit:
            with contextlib.suppress(KedgeError):
                await self.remove(container, force=False)

    async def _try_release(self, container: Container) -> bool:
        try:
            await self._network.release(container)
        except SystemFailureError:
            return False
        return True

    async def _settle(self, container: Container) -> None:
        await self._network.release(container)
        container.save()
        container.is_settled = True

    async def _settle_later(self, container: Container) -> None:
        """Do what a full disk has kept `finish` from, as soon as there is room."""
        while container.id in self._context.containers and not container.record.alive:
            await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(SystemFailureError):
                async with container.lock:
                    if container.is_settled or container.record.status is not Status.EXITED:
                        return
                    await self._settle(container)
                if container.record.host_config.auto_remove and not container.outlives_exit:
                    await self.remove(container, force=True)
                return

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal to a running container's first process; after SIGKILL it has ended.

        Raises:
            ConflictError: It does not run.
            InvalidParameterError: No such signal.
        """
        number = parse_signal(signal_name or "KILL")
        record = container.record
        stays_down = ends_policy(number, record.config.stop_signal)
        if record.status is Status.RESTARTING and (
            not stays_down or await self._stay_down(container)
        ):
            return
        shim = container.shim
        if shim is None or not record.alive:
            raise ConflictError(
                f"cannot kill container: {container.name}: container {container.id} is not running"
            )
        if stays_down:
            note_stop(container)
        if number == signal.SIGKILL and record.status is Status.PAUSED:
            # A frozen process cannot die; somebody else may have been faster to thaw it.
            with contextlib.suppress(ConflictError):
                await shim.resume()
        exited = asyncio.shield(container.exited)
        await shim.kill(number)
        announce(self._context, container, "kill", {"signal": str(number)})
        if number == signal.SIGKILL:
            # compat: clients inspect or remove the container next and expect it dead. A process
            # that the kernel cannot end yet keeps nobody waiting for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_GRACE_S):
                    await exited

    async def _stay_down(self, container: Container) -> bool:
        """Let no restart follow; tell whether the container waited for one."""
        async with container.lock:
            return await self._restarts.cancel(container)

    async def stop_all(self) -> None:
        """Stop what runs because the engine ends: not as a person does, who means it to last."""
        self._restarts.hold()
        alive = [container for container in self._context.containers if container.record.alive]
        await asyncio.gather(
            *(self.stop(container, by_user=False) for container in alive), return_exceptions=True
        )

    def resume_policies(self) -> None:
        """Begin to start what the restart policies want back with the engine."""
        self._keep(asyncio.create_task(self._restarts.resume()))

    async def stop(
        self,
        container: Container,
        *,
        signal_name: str = "",
        timeout_s: int | None = None,
        by_user: bool = True,
    ) -> None:
        """Ask a container to end, and end it when the time is up.

        Args:
            container: One that runs, or waits for its restart and then stays down.
            signal_name: Instead of its stop signal.
            timeout_s: Instead of its own patience; negative waits for ever.
            by_user: A policy shall not start it again.

        Raises:
            NotModifiedError: It does not run.
        """
        record = container.record
        if record.status is Status.RESTARTING and await self._stay_down(container):
            announce(self._context, container, "stop")
            return
        shim = container.shim
        if shim is None or not record.alive:
            raise NotModifiedError(f"container {container.name} is already stopped")
        config = record.config
        number = parse_signal(signal_name or config.stop_signal or STOP_SIGNAL)
        if timeout_s is None:
            timeout_s = config.stop_timeout if config.stop_timeout is not None else STOP_TIMEOUT_S
        exited = asyncio.shield(container.exited)
        if by_user:
            note_stop(container)
        with contextlib.suppress(ConflictError):
            # Somebody else may have been faster.
            if record.status is Status.PAUSED:
                await self.unpause(container)
        with contextlib.suppress(KedgeError):
            await shim.kill(number)
            announce(self._context, container, "kill", {"signal": str(number)})
        reason = await wait_for_end(self._context, container, number, exited, timeout_s)
        if reason:
            await force_end(self._context, container, shim, reason)
        await self._settled(container)
        announce(self._context, container, "stop")

    async def _settled(self, container: Container) -> None:
        # The watcher holds the lock until everything the container had is released.
        async with container.lock:
            return

    async def pause(self, container: Container) -> None:
        """Freeze every process of a running container."""
        async with container.held() as record:
            if record.status is Status.PAUSED:
                raise ConflictError(f"container {container.id} is already paused")
            shim = running_shim(container)
            await shim.pause()
            try:
                container.become(Status.PAUSED)
            except SystemFailureError:
                await shim.resume()
                raise
            self._health.leave(container)
        announce(self._context, container, "pause")

    async def unpause(self, container: Container) -> None:
        """Let a frozen container go on."""
        async with container.held() as record:
            if record.status is not Status.PAUSED:
                raise ConflictError(f"Container {container.id} is not paused")
            await running_shim(container).resume()
            container.arrive(Status.RUNNING)
            self._health.watch(container, since_ns=self._context.clock.time_ns())
        announce(self._context, container, "unpause")

    async def remove(self, container: Container, *, force: bool, volumes: bool = False) -> None:
        """Remove a container's record, layer, log and files, and on request what it alone mounts.

        Raises:
            ConflictError: It runs and ``force`` is off, or another removal is going on.
        """
        record = container.record
        while True:
            if record.active:
                await self._end_for_removal(container, force=force)
            async with container.lock:
                if container.is_gone:
                    if force:
                        return
                    raise ConflictError(
                        f"removal of container {container.id} is already in progress"
                    )
                comes_back = container.shim is not None or record.status is Status.RESTARTING
                if record.active and comes_back:
                    # Somebody has started it again meanwhile.
                    continue
                record.takes_volumes |= volumes or record.host_config.auto_remove
                container.become(Status.REMOVING)
                await delete_container(self._context, container)
                break
        container.announce_removal()
        announce(self._context, container, "destroy")

    async def _end_for_removal(self, container: Container, *, force: bool) -> None:
        if not force:
            state = str(container.record.status)
            raise ConflictError(
                f'cannot remove container "/{container.name}": container is {state}: '
                + ("unpause and then stop" if state == "paused" else "stop")
                + " the container before removing or force remove"
            )
        if not await self._stay_down(container):
            await kill_for_removal(self._context, container)

    async def close(self) -> None:
        """Stop watching; the containers run on."""
        await self._restarts.close()
        await self._health.close()
        for task in list(self._watchers):
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)


async def _dispose(shim: Shim | None) -> None:
    if shim is not None:
        with contextlib.suppress(KedgeError):
            await shim.shutdown()
