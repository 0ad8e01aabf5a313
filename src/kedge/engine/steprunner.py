"""RUN steps of a build: a short-lived container without a record.

The builder works in a thread and waits there; everything below runs on the engine's loop. A step
that a crash leaves behind is found at the next start, because its bundle's folder has no record.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Final

from kedge.api.types.config import ContainerConfig, HostConfig, Ulimit
from kedge.builder.steps import StepLimits, StepResult, StepSpec
from kedge.engine.context import EngineContext, EngineSettings
from kedge.engine.devices import plan_devices
from kedge.engine.ending import end_shim
from kedge.engine.hostchecks import check_cgroup_parent
from kedge.engine.kernelfacts import read_facts
from kedge.engine.limits import check_limits, check_process_limits
from kedge.engine.process import (
    NetworkFiles,
    cgroup_path,
    lookup_user,
    security_of,
    write_bundle,
)
from kedge.engine.spec import BindMount, SpecInput
from kedge.engine.userns import NO_MAPS, mapped_rootfs
from kedge.errdefs import InvalidParameterError, KedgeError, SystemFailureError
from kedge.network import files as network_files
from kedge.network import model
from kedge.shim.client import Shim
from kedge.shim.messages import CreatedInfo, CreateRequest

_CHUNK: Final = 65536
_HEADER: Final = 8
_CANCEL_POLL_S: Final = 0.1
_RETRY_S: Final = 1.0


class EngineStepRunner:
    """Satisfies the builder's ``StepRunner``; `run` is called from the builder's threads."""

    def __init__(self, context: EngineContext, loop: asyncio.AbstractEventLoop) -> None:
        """Run steps with ``context``'s spawner and network on ``loop``."""
        self._context = context
        self._loop = loop
        self._late: set[asyncio.Task[None]] = set()

    def run(
        self,
        spec: StepSpec,
        on_output: Callable[[str, bytes], None],
        cancel: threading.Event,
    ) -> StepResult:
        """Run ``spec`` to its end; nothing of it is left behind."""
        future = asyncio.run_coroutine_threadsafe(self._run(spec, on_output, cancel), self._loop)
        return future.result()

    async def _run(
        self,
        spec: StepSpec,
        on_output: Callable[[str, bytes], None],
        cancel: threading.Event,
    ) -> StepResult:
        async with self.container(spec) as (shim, created):
            # A start may fail, and a shim stays until its clients have hung up.
            with await shim.attach(stdin=False, stdout=True, stderr=True) as stream:
                await shim.start()
                async with killed_when(cancel, shim):
                    await _read_output(stream, on_output)
                    status = await shim.wait()
            return StepResult(
                exit_code=status.exit_code, created_mountpoints=created.created_mountpoints
            )

    @contextlib.asynccontextmanager
    async def container(
        self, spec: StepSpec, *, terminal: bool = False
    ) -> AsyncGenerator[tuple[Shim, CreatedInfo]]:
        """Enclose the life of a container for ``spec``, which the caller starts; on the loop.

        With ``terminal`` it gets one, and its input stays open.
        """
        context = self._context
        async with contextlib.AsyncExitStack() as undo:
            directory = context.paths.shim_dir(spec.container_id)
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            os.mkdir(directory, mode=0o711)
            own_netns = spec.network != "host"
            endpoint = await self._endpoint(spec, undo) if own_netns else None
            plan = self._plan(spec, directory, endpoint, terminal=terminal)
            write_bundle(directory, plan)
            uids, gids = plan.id_maps or NO_MAPS
            shim = await context.spawner.create(
                CreateRequest(
                    id=spec.container_id,
                    bundle=directory,
                    run_dir=directory,
                    cgroup_path=plan.cgroup_path,
                    rootfs=mapped_rootfs(spec.rootfs, plan.id_maps),
                    terminal=terminal,
                    stdin=terminal,
                    own_netns=own_netns,
                    uid_mappings=uids,
                    gid_mappings=gids,
                )
            )
            undo.push_async_callback(end_shim, shim)
            if own_netns:
                await context.run_network(
                    lambda: context.network.connect(
                        spec.container_id, netns_fd=shim.netns_fd, rtnl_fd=shim.rtnl_fd
                    )
                )
                shim.close_netns()
            yield shim, await shim.wait_created()

    async def _endpoint(self, spec: StepSpec, undo: contextlib.AsyncExitStack) -> model.Endpoint:
        context = self._context
        network = context.network.get("none" if spec.network == "none" else "bridge")
        undo.push_async_callback(self._release, spec.container_id)
        return await context.run_network(
            lambda: context.network.create_endpoint(spec.container_id, network.id)
        )

    async def _release(self, container_id: str) -> None:
        try:
            await self._remove_endpoint(container_id)
        except SystemFailureError:
            # The disk is full, of this very step perhaps, which shall say how it ended.
            task = asyncio.create_task(self._release_later(container_id))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _release_later(self, container_id: str) -> None:
        while True:
            await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(SystemFailureError):
                return await self._remove_endpoint(container_id)

    async def _remove_endpoint(self, container_id: str) -> None:
        network = self._context.network
        await self._context.run_network(lambda: network.remove_endpoint(container_id))

    def _plan(
        self,
        spec: StepSpec,
        directory: str,
        endpoint: model.Endpoint | None,
        *,
        terminal: bool,
    ) -> SpecInput:
        files = NetworkFiles(directory)
        settings = self._context.settings
        ends = (endpoint.ipv4, endpoint.ipv6) if endpoint else ()
        addresses = [str(item.ip) for item in ends if item is not None]
        extra = [
            (name, address) for name, _, address in (h.partition(":") for h in spec.extra_hosts)
        ]
        files.write(
            hostname=spec.hostname,
            hosts=network_files.hosts(spec.hostname, "", addresses, extra),
            resolv_conf=network_files.resolv_conf(
                dns=settings.dns,
                search=settings.dns_search,
                options=settings.dns_opts,
                own_namespace=endpoint is not None,
            ),
        )
        host_config = _host_config(spec, settings)
        layers = layer_directories(spec)
        user = lookup_user(layers, spec.user, [])
        env = spec.env
        if not any(item.startswith("HOME=") for item in env):
            env = (*env, f"HOME={user.home}")
        return SpecInput(
            container_id=spec.container_id,
            config=ContainerConfig(hostname=spec.hostname, tty=terminal),
            host_config=host_config,
            args=spec.args,
            env=env,
            cwd=spec.cwd,
            user=user,
            security=security_of(host_config),
            devices=plan_devices(host_config),
            cgroup_path=cgroup_path(spec.container_id, host_config.cgroup_parent),
            binds=(
                *files.binds(),
                *(
                    BindMount(
                        source=mount.source,
                        destination=mount.destination,
                        options=mount.options,
                        kind=mount.type,
                        own=mount.type == "bind",
                    )
                    for mount in spec.mounts
                ),
            ),
            network_namespace="" if endpoint is not None else None,
            # A step in the host's network cannot be kept from the host by a user namespace, and
            # one that asked for all rights would not have them in it.
            id_maps=None if endpoint is None or spec.is_insecure else settings.id_maps,
        )


def check_step_limits(limits: StepLimits) -> None:
    """Refuse limits that cannot work, before a build begins.

    Raises:
        InvalidParameterError: A value is out of range, or the kernel does not have the limit.
    """
    host = limited(limits)
    check_process_limits(host)
    check_cgroup_parent(host.cgroup_parent)
    warnings = check_limits(host, read_facts())
    if warnings:
        raise InvalidParameterError(warnings[0])


def limited(limits: StepLimits, *, privileged: bool = False) -> HostConfig:
    """Return the limits of a step as those of a container."""
    ulimits: list[Ulimit] = []
    for text in limits.ulimits:
        name, _, values = text.partition("=")
        soft, _, hard = values.partition(":")
        try:
            ulimits.append(Ulimit(name=name, soft=int(soft), hard=int(hard or soft)))
        except ValueError:
            raise InvalidParameterError(f"invalid ulimit {text}: want NAME=SOFT[:HARD]") from None
    return HostConfig(
        privileged=privileged,
        memory=limits.memory_bytes,
        memory_swap=limits.memory_swap_bytes,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period_us,
        cpu_quota=limits.cpu_quota_us,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        shm_size=limits.shm_size_bytes,
        ulimits=ulimits,
        cgroup_parent=limits.cgroup_parent,
    )


def _host_config(spec: StepSpec, settings: EngineSettings) -> HostConfig:
    host = limited(spec.limits, privileged=spec.is_insecure)
    host.cgroup_parent = host.cgroup_parent or settings.cgroup_parent
    return host


def layer_directories(spec: StepSpec) -> tuple[str, ...]:
    """Return the directories of the step's root file system, top first."""
    layers: list[str] = []
    for mount in spec.rootfs:
        for option in mount.options:
            key, _, value = option.partition("=")
            if key in {"upperdir", "lowerdir+"}:
                layers.append(value)
            elif key == "lowerdir":
                layers.extend(value.split(":"))
        if mount.type == "bind":
            layers.append(mount.source)
    return tuple(layers)


@contextlib.asynccontextmanager
async def killed_when(cancel: threading.Event, shim: Shim) -> AsyncGenerator[None]:
    """Enclose the time in which ``cancel`` kills a step."""
    watcher = asyncio.create_task(_kill_when(cancel, shim))
    try:
        yield
    finally:
        watcher.cancel()


async def _kill_when(cancel: threading.Event, shim: Shim) -> None:
    # The event belongs to the builder's thread, so it can only be looked at now and then.
    while not cancel.is_set():  # noqa: ASYNC110
        await asyncio.sleep(_CANCEL_POLL_S)
    with contextlib.suppress(KedgeError):
        await shim.kill(signal.SIGKILL, all=True)


async def _read_output(stream: socket.socket, on_output: Callable[[str, bytes], None]) -> None:
    """Take the frames of ``stream`` apart until it ends."""
    loop = asyncio.get_running_loop()
    pending = bytearray()
    with stream:
        while chunk := await loop.sock_recv(stream, _CHUNK):
            pending += chunk
            while len(pending) >= _HEADER:
                length = int.from_bytes(pending[4:8], "big")
                if len(pending) < _HEADER + length:
                    break
                payload = bytes(pending[_HEADER : _HEADER + length])
                name = "stderr" if pending[0] == 2 else "stdout"
                del pending[: _HEADER + length]
                # Taking it may wait for a slow client, whom this very loop serves.
                await asyncio.to_thread(on_output, name, payload)
